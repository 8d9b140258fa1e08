"""The gateway that a command means: of the pair in a directory, or one elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from azquack.errors import SettingError
from azquack.lake.client import TOKEN_VARIABLE, Target
from azquack.replicas.local import LakeDirectory
from azquack.tokens.files import FileTokens

DirOption = Annotated[Path, typer.Option("--dir", help="The lake directory of a pair on this machine.")]
UriOption = Annotated[
    str | None,
    typer.Option(help=f"A gateway elsewhere, quack:HOST:PORT; the token comes from {TOKEN_VARIABLE}."),
]


def target(directory: Path, uri: str | None) -> Target:
    """The gateway that the user means. Raises `SettingError` when there is none, `TokenError`.

    The settings, which take longer to read than all else, are read where nothing else says the token.
    """
    if uri is not None:
        return Target(uri, _token_for(uri), tls=uri.endswith(":443"))
    lake = LakeDirectory(directory.resolve())
    running = lake.running()
    if running is None:
        raise SettingError(
            f"no pair is up in {directory}: start it with azquack up --dir {directory}, or give --uri"
        )
    if running.token_file:
        file = Path(running.token_file)
        return Target(running.uri, FileTokens(file.parent).read(file.name), running.tls, running.ca_file)
    from azquack.tokens.configured import token_source_for

    token = token_source_for(lake.load().settings).public()
    return Target(running.uri, token, running.tls, running.ca_file)


def _token_for(uri: str) -> SecretStr:
    if token := os.environ.get(TOKEN_VARIABLE):
        return SecretStr(token)
    from azquack.config.sources import load

    known = load().settings.public_token
    if known is None:
        raise SettingError(f"{TOKEN_VARIABLE} is not set: it is the token for {uri}")
    return known
