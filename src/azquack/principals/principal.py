"""Who somebody is: a name, a role, grants, and the fingerprint of the credential that proved it."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from azquack.config.settings import PrincipalRole as Role
from azquack.errors import SettingError

__all__ = ["EVERY", "NAME", "PRIVILEGES", "WRITES", "Grant", "Principal", "Role", "checked_name", "folded"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:|+=/-]{0,127}")
WRITES = frozenset({"insert", "update", "delete", "create"})
PRIVILEGES = frozenset({"select"}) | WRITES
EVERY = "*"


_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(name: str) -> str:
    """`name` as DuckDB compares names: ASCII letters alone lose their case, so `Ä` is not `ä`."""
    return name.lower() if name.isascii() else name.translate(_FOLD)


@dataclass(frozen=True, slots=True)
class Grant:
    """Privileges on the tables of one schema, on one table, or (`*`, `*`) on all. Names are folded."""

    privileges: frozenset[str]
    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> Grant:
        """A grant from `select on demo.*`, `select,insert on demo.events`, `write on *`.

        `write` stands for insert, update, delete and create, `all` for these and select. A name without a
        schema is a table of `main`. Raises `SettingError`.
        """
        *before, on, where = text.split() if len(text.split()) > 2 else ("", "", "")
        listed = folded(" ".join(before))
        if folded(on) != "on" or not re.fullmatch(r"[\w, ]+", listed):
            raise SettingError(
                f"{text!r} is no grant: say for example 'select on demo.*' or 'write on demo.t'"
            )
        privileges: set[str] = set()
        for word in re.split(r"[, ]+", listed):
            privileges |= {"write": WRITES, "all": PRIVILEGES}.get(word, frozenset({word}))
        if unknown := privileges - PRIVILEGES:
            raise SettingError(
                f"{min(unknown)!r} is no privilege: use select, insert, update, delete, create, write or all"
            )
        schema, _, table = folded(where).rpartition(".")
        if not schema:
            schema = EVERY if table == EVERY else "main"
        for name in (schema, table):
            if name != EVERY and not re.fullmatch(r"[\w$ -]+", name):
                raise SettingError(f"{where!r} names no table: use SCHEMA.TABLE, SCHEMA.* or *")
        if schema == EVERY and table != EVERY:
            raise SettingError(f"{where!r} names no schema: use SCHEMA.TABLE, SCHEMA.* or *")
        return cls(frozenset(privileges), schema, table)

    def covers(self, privilege: str, schema: str, table: str) -> bool:
        """Whether this grant gives `privilege` on `schema.table` (folded; `*` asks for all tables)."""
        return (
            privilege in self.privileges and self.schema in (EVERY, schema) and self.table in (EVERY, table)
        )

    def __str__(self) -> str:
        where = EVERY if self.schema == EVERY else f"{self.schema}.{self.table}"
        return f"{','.join(sorted(self.privileges))} on {where}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has shown a token.

    `grants` is None for all that the role allows, and else the only tables within reach. `fingerprint` tells
    one credential of the name from the next, so that a rotation ends the sessions of the old one; nothing can
    be learnt from it. `expires` is when its sessions must end (JWT), in Unix seconds.
    """

    name: str
    role: Role
    fingerprint: str
    grants: tuple[Grant, ...] | None = None
    expires: float | None = None

    def may(self, privilege: str, schema: str, table: str) -> bool:
        """Whether the grants give `privilege` on `schema.table`."""
        if self.grants is None:
            return True
        return any(grant.covers(privilege, folded(schema), folded(table)) for grant in self.grants)


def checked_name(name: str) -> str:
    """`name` if it can name a principal; raises `SettingError`."""
    if not NAME.fullmatch(name):
        raise SettingError(f"{name!r} cannot name a principal: use letters, digits and . _ @ - (128 at most)")
    return name
