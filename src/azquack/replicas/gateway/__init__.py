"""The process of a gateway: what it is made of, and what it knows of its replica."""
