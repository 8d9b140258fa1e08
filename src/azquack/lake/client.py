"""A stock DuckDB as a client of the public gateway: what `azquack sql`, `connect` and `status` use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from pydantic import SecretStr

from azquack.errors import LakeError
from azquack.lake import extensions
from azquack.process.directories import private_directory
from azquack.sql import Statement, first_line, literal, plain, statement

ALIAS = "lake"
TOKEN_VARIABLE = "AZQUACK_PUBLIC_TOKEN"  # noqa: S105  the name of a variable


@dataclass(frozen=True)
class Target:
    """A public gateway: its URI (`quack:host:port`), the token for it, and whether it speaks TLS.

    `ca_file` (PEM) says whose certificates are trusted there; with none, those that this machine trusts.
    """

    uri: str
    token: SecretStr
    tls: bool
    ca_file: str = ""

    def trust(self) -> Statement | None:
        """The statement that has a DuckDB trust `ca_file`, where there is one."""
        return plain(f"SET ca_cert_file = {literal(self.ca_file)};") if self.tls and self.ca_file else None

    def attach(self, alias: str = ALIAS, token_sql: str | None = None) -> tuple[Statement, Statement]:
        """The two statements that attach it to any stock DuckDB; `token_sql` stands in for the token."""
        scope = literal(self.uri)
        # DuckDB speaks plain HTTP to this machine and TLS to all others unless told.
        local = self.uri.startswith(("quack:localhost", "quack:127.0.0.1"))
        options = "" if self.tls is not local else f" (DISABLE_SSL {literal(not self.tls)})"
        if token_sql is None:
            secret = statement(
                f"CREATE SECRET (TYPE quack, SCOPE {scope}, TOKEN {{token}});",
                token=self.token.get_secret_value(),
            )
        else:
            secret = plain(f"CREATE SECRET (TYPE quack, SCOPE {scope}, TOKEN {token_sql});")
        return secret, plain(f"ATTACH {scope} AS {alias}{options};")


@contextmanager
def connection(target: Target) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB with the lake attached. Raises `LakeError` when the gateway does not let us in."""
    with private_directory() as directory:
        extensions.link_all(directory)
        with duckdb.connect(":memory:", config=extensions.config(directory)) as opened:
            opened.execute("LOAD httpfs; LOAD quack")
            if trust := target.trust():
                opened.execute(trust.text)
            for each in target.attach():
                try:
                    opened.execute(each.text)
                except duckdb.Error as error:
                    raise LakeError(f"cannot attach {target.uri}: {each.scrub(first_line(error))}") from None
            yield opened


def shell(target: Target, directory: Path) -> list[str]:
    """The arguments that open the stock `duckdb` program with the lake attached.

    `directory` is a directory that lasts as long as the program. The token is not among the arguments, which
    every user of a machine may read: the program takes it from `TOKEN_VARIABLE` of its environment.
    """
    extensions.link_all(directory)
    secret, attach = target.attach(token_sql=f"getenv({literal(TOKEN_VARIABLE)})")
    trust = target.trust()
    start = directory / "attach.sql"
    start.write_text(
        f"SET extension_directory = {literal(str(directory))};\nSET autoinstall_known_extensions = false;\n"
        f"LOAD httpfs;\nLOAD quack;\n{trust.text if trust else ''}\n.output /dev/null\n"
        f"{secret.text}\n.output\n{attach.text}\nUSE {ALIAS};\n"
    )
    return [str(extensions.program()), "-init", str(start)]
