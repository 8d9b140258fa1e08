"""What is behind the lake: the catalog over Quack, a DuckDB file, SQLite or PostgreSQL.

    quack:HOST[:PORT]                        the catalog role, the default and the point
    PATH, duckdb:PATH                        a DuckDB file
    sqlite:PATH                              a SQLite file
    postgres:KEY=VALUE …, postgres://…       a PostgreSQL database, as libpq writes it

https://ducklake.select/docs/stable/duckdb/usage/choosing_a_catalog_database
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from azquack.errors import SettingError
from azquack.sql import Statement, braces, literal, statement

if TYPE_CHECKING:
    # A node, which makes its own metadata of its link, knows neither.
    from azquack.config.settings import Settings
    from azquack.tokens.source import TokenSource

SECRET = "azquack_catalog"  # noqa: S105  the name of DuckDB's secret
DEFAULT_PORT = 9494
_FORMS = "quack:HOST:PORT, a DuckDB file, sqlite:FILE or postgres:CONNECTION"
_QUACK = re.compile(r"(?P<host>\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>\d{1,5}))?")
# One `key = value` of libpq, the value bare or in quotes with backslashes:
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
_PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)+))(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What DuckLake needs to know of its catalog.

    `path` is the METADATA_PATH and holds no secret: every user can see it in `duckdb_databases()`. `secrets`
    must be there, as persistent ones, when the lake is opened. `parameters` are DuckLake's
    METADATA_PARAMETERS.
    """

    path: str
    extensions: tuple[str, ...]
    secrets: tuple[Statement, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path | None:
        """The file of a catalog that is one."""
        scheme, _, rest = self.path.partition(":")
        return None if scheme in ("quack", "postgres") else Path(rest if scheme == "sqlite" else self.path)


def metadata_for(settings: Settings, uri: str, tokens: TokenSource) -> Metadata:
    """The catalog at `uri`, which is `settings.catalog` or the link's own address.

    `tokens` is asked for the internal token when the catalog is a Quack. Raises `SettingError`, `TokenError`.
    """
    scheme, separator, rest = uri.partition(":")
    match scheme if separator else "":
        case "quack":
            host, port = quack_address(uri)
            return quack(f"quack:{host}:{port}", tokens.internal().get_secret_value())
        case "sqlite":
            return Metadata(f"sqlite:{_file(uri, rest)}", ("sqlite",))
        case "postgres" | "postgresql":
            password = settings.catalog_password
            return _postgres(uri, password.get_secret_value() if password else None)
        case "duckdb":
            return Metadata(_file(uri, rest), ())
        case _ if "://" in uri or re.fullmatch(r"[a-z][a-z0-9+]+", scheme if separator else ""):
            raise SettingError(f"AZQUACK_CATALOG has the unknown scheme {scheme}: allowed are {_FORMS}")
        case _:
            return Metadata(_file(uri, uri), ())


def quack_address(uri: str) -> tuple[str, int]:
    """Host and port of `quack:HOST[:PORT]`; an IPv6 address stands in brackets. Raises `SettingError`."""
    match = _QUACK.fullmatch(uri.removeprefix("quack:"))
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if not uri.startswith("quack:") or match is None or not 0 < port < 65536:
        raise SettingError(
            f"AZQUACK_CATALOG is {uri!r}: write quack:HOST or quack:HOST:PORT, port 1 to 65535"
        )
    return match["host"], port


def quack(address: str, token: str) -> Metadata:
    """The catalog that serves Quack at `address`, which is `quack:HOST:PORT`."""
    scope = braces(literal(address))
    secret = statement(
        f"CREATE OR REPLACE PERSISTENT SECRET {SECRET} (TYPE quack, SCOPE {scope}, TOKEN {{token}})",
        token=token,
    )
    return Metadata(address, ("quack",), (secret,))


def _file(uri: str, path: str) -> str:
    if not path.strip():
        raise SettingError(f"AZQUACK_CATALOG is {uri!r}, which names no file: allowed are {_FORMS}")
    file = Path(path).expanduser().absolute()
    if not file.parent.is_dir():
        raise SettingError(f"AZQUACK_CATALOG is {uri!r}: there is no directory {file.parent}")
    return str(file)


def _postgres(uri: str, password: str | None) -> Metadata:
    """The connection without its password, which goes into a secret that DuckLake is told the name of."""
    values = _url_values(uri) if "://" in uri else _keyword_values(uri.partition(":")[2])
    if "password" in values or "sslpassword" in values:
        raise SettingError(
            "AZQUACK_CATALOG holds a password: take it out and set AZQUACK_CATALOG_PASSWORD, "
            "which is never shown"
        )
    if "dbname" not in values:
        raise SettingError(
            "AZQUACK_CATALOG names no database: write postgres:dbname=NAME host=HOST user=USER"
        )
    path = "postgres:" + " ".join(f"{key}={_libpq(value)}" for key, value in values.items())
    if password is None:
        return Metadata(path, ("postgres",))
    secret = statement(
        f"CREATE OR REPLACE PERSISTENT SECRET {SECRET} (TYPE postgres, PASSWORD {{password}})",
        password=password,
    )
    return Metadata(path, ("postgres",), (secret,), {"SECRET": SECRET})


def _url_values(uri: str) -> dict[str, str]:
    try:
        url = urlsplit(uri)
        named = {
            "host": unquote(url.hostname or ""),
            "port": str(url.port or ""),
            "user": unquote(url.username or ""),
            "password": unquote(url.password or ""),
            "dbname": unquote(url.path.removeprefix("/")),
        }
    except ValueError:
        # The URL may hold a password: it is not shown.
        raise SettingError("AZQUACK_CATALOG is no URL: write postgres://USER@HOST:PORT/DATABASE") from None
    return {key: value for key, value in named.items() if value} | dict(parse_qsl(url.query))


def _keyword_values(text: str) -> dict[str, str]:
    values, at = {}, 0
    while text[at:].strip():
        match = _PAIR.match(text, at)
        if match is None:
            raise SettingError(
                "AZQUACK_CATALOG is no PostgreSQL connection: write postgres:dbname=NAME host=HOST user=USER"
            )
        values[match[1]] = re.sub(r"\\(.)", r"\1", match[2] if match[2] is not None else match[3])
        at = match.end()
    return values


def _libpq(value: str) -> str:
    if re.fullmatch(r"[\w./:@%+,-]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
