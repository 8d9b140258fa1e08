"""The two roles: what a replica of each is made of."""
