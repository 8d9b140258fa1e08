"""The gateway: how people, and query replicas, come in."""
