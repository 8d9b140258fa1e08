"""Principals: who may come in, and what they may do at most."""

from azquack.principals.principal import Grant, Principal, Role
from azquack.principals.sources import FileSource, Principals, PublicToken, Source, TextSource

__all__ = [
    "FileSource",
    "Grant",
    "Principal",
    "Principals",
    "PublicToken",
    "Role",
    "Source",
    "TextSource",
]
