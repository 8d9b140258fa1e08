"""Faults in a running lake: what was acknowledged stays, once, and nothing is torn."""
