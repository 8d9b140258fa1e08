"""`azquack config` and `preview`: what a replica would do."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from azquack.catalog import epochs
from azquack.cli.options import ALL_GROUPS, EnvFile, RoleArgument, with_settings
from azquack.config.settings import Role, as_markdown
from azquack.config.sources import load
from azquack.errors import SettingError
from azquack.node.config import NodeConfig
from azquack.replicas import catalog, query
from azquack.replicas.local import LakeDirectory
from azquack.tokens.configured import token_source_for

DirOption = Annotated[
    Path | None, typer.Option("--dir", help="The lake directory of a pair: what azquack up does with it.")
]


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Format(StrEnum):
    """How a list is shown."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    for name, command in (("config", config), ("preview", preview)):
        app.command(name)(with_settings(*ALL_GROUPS)(command))


def config(
    role: RoleArgument = None,
    format: Annotated[Format, typer.Option(help="How to show them.")] = Format.TABLE,
    env_file: EnvFile = Path(".env"),
    directory: DirOption = None,
    as_json: JsonOption = False,
    **flags: Any,
) -> None:
    """Show the effective settings and where each came from, secrets masked: a replica's, or with --dir a pair's.

    As markdown it is the page of every setting instead.
    """
    if format is Format.MARKDOWN:
        print(as_markdown(), end="")
        return
    given = {"role": role, **flags}
    if directory is not None:
        loaded = LakeDirectory(directory.resolve()).load(given, env_file=env_file)
    else:
        loaded = load(given, env_file=env_file)
    rows = list(loaded.rows())
    if as_json or format is Format.JSON:
        print(
            json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=2)
        )
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for name, value, origin in rows:
        table.add_row(name, value, origin, style=None if origin != "default" else "dim")
    Console(soft_wrap=True).print(table)


def preview(
    role: RoleArgument = None, env_file: EnvFile = Path(".env"), as_json: JsonOption = False, **flags: Any
) -> None:
    """Print every statement that a node would run at start, secrets masked."""
    settings = load({"role": role, **flags}, env_file=env_file).settings
    tokens = token_source_for(settings)
    configs: list[NodeConfig] = []
    match settings.role:
        case Role.CATALOG:
            file = epochs.newest(catalog.directory_of(settings))
            configs = [catalog.node_config(settings, tokens.internal().get_secret_value(), file)]
        case Role.QUERY:
            configs = [query.node_config(settings, tokens)]
        case None:
            raise SettingError(
                "AZQUACK_ROLE is not set: run azquack preview catalog or azquack preview query"
            )
    if as_json:
        print(json.dumps({each.name: each.script().splitlines() for each in configs}, indent=2))
        return
    for each in configs:
        print(each.script())
