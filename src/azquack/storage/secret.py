"""One DuckDB secret for the storage, made of what the settings give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from azquack.errors import SettingError
from azquack.sql import Statement, braces, identifier, literal, statement

NAME = "azquack_storage"


@dataclass(frozen=True, slots=True)
class StorageSecret:
    """The parameters of a `CREATE SECRET`.

    `type` and `provider` are DuckDB's own words. `hidden` parameters are masked wherever the statement is
    shown; `options` are the user's further ones: they win over ours, and are hidden, since any of them may
    be a credential.
    """

    type: str
    provider: str
    scope: str
    shown: Mapping[str, str | bool | None] = field(default_factory=dict)
    hidden: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def statement(self) -> Statement:
        """The `CREATE OR REPLACE SECRET`; parameters that are None are left out."""
        options = {name.upper(): value for name, value in self.options.items()}
        hidden = {name: value for name, value in self.hidden.items() if value is not None} | options
        shown = {
            name: value for name, value in self.shown.items() if value is not None and name not in options
        }
        parts = [f"TYPE {self.type}", f"PROVIDER {self.provider}", f"SCOPE {_quoted(self.scope)}"]
        parts += [f"{name} {_quoted(value)}" for name, value in shown.items()]
        parts += [f"{name} {{{name}}}" for name in hidden]
        return statement(
            f"CREATE OR REPLACE SECRET {identifier(NAME)} ({', '.join(parts)})",
            **hidden,
        )


def checked_options(options: Mapping[str, str], allowed: frozenset[str], secret: str) -> Mapping[str, str]:
    """`options` when each of them is a parameter in `allowed`; else `SettingError`, without any value."""
    for name in options:
        if name.upper() not in allowed:
            raise SettingError(
                f"AZQUACK_STORAGE_OPTIONS names {name}, which {secret} does not take: "
                f"allowed are {', '.join(sorted(allowed))}"
            )
    return options


def _quoted(value: str | bool) -> str:
    return braces(literal(value))
