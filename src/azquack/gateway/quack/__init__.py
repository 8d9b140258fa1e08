"""Quack at the gateway: decode, ask the gateway, encode."""
