"""The door: how people, and query replicas, come in."""
