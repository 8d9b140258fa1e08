"""`azquack serve`, `config` and `preview`: one replica, and what it would do."""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from azquack import epochs, logs
from azquack.child import ChildState
from azquack.cli.options import with_settings
from azquack.errors import SettingError
from azquack.plan import NodePlan
from azquack.roles import catalog, query
from azquack.settings import Role, Settings, as_markdown, load
from azquack.supervisor import Supervisor
from azquack.tokens import token_source_for

ALL_GROUPS = ("Replica", "Lake", "Door", "Limits", "Care", "Storage", "Tokens")
RoleArgument = Annotated[
    str | None, typer.Argument(metavar="[catalog|query]", help="The role. [AZQUACK_ROLE]", show_default=False)
]
EnvFile = Annotated[Path, typer.Option(help="File of settings, one NAME=VALUE a line.")]


class Format(StrEnum):
    """How a list is shown."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    app.command("serve", rich_help_panel="Replicas")(with_settings(*ALL_GROUPS)(serve))
    app.command("config", rich_help_panel="Replicas")(with_settings(*ALL_GROUPS)(config))
    app.command("preview", rich_help_panel="Replicas")(with_settings(*ALL_GROUPS)(preview))


def serve(role: RoleArgument = None, env_file: EnvFile = Path(".env"), **flags: Any) -> None:
    """Run one replica in the foreground until SIGTERM.

    Once it serves, it prints one line of JSON with its ports; a catalog that another one owns first says
    standby, and ready once it has taken over.
    """
    settings = load({"role": role, **flags}, env_file=env_file).settings
    logs.configure("supervisor", settings.log_level)
    asyncio.run(replica(settings).run(_announce))


def replica(settings: Settings) -> Supervisor:
    """The supervisor of the replica that `settings` describe. Raises `SettingError`, `TokenError`, `LakeError`."""
    tokens = token_source_for(settings)
    match settings.role:
        case Role.CATALOG:
            owned = catalog.ownership(settings, standby=True)
            specs = catalog.children(settings, tokens, owned)
            return Supervisor(specs, stop_timeout=settings.stop_timeout, ownership=owned)
        case Role.QUERY:
            return Supervisor(query.children(settings, tokens), stop_timeout=settings.stop_timeout)
        case None:
            raise SettingError("AZQUACK_ROLE is not set: say azquack serve catalog or azquack serve query")


async def _announce(states: list[ChildState]) -> None:
    waits = any(state.name == catalog.NODE and not state.ready for state in states)
    ports = {state.name: state.report["port"] for state in states if "port" in state.report}
    print(json.dumps({"event": "standby" if waits else "ready", "ports": ports}), flush=True)


def config(
    role: RoleArgument = None,
    format: Annotated[Format, typer.Option(help="How to show them.")] = Format.TABLE,
    env_file: EnvFile = Path(".env"),
    **flags: Any,
) -> None:
    """Show the effective settings and where each came from, secrets masked.

    As markdown it is the page of every setting instead.
    """
    if format is Format.MARKDOWN:
        print(as_markdown(), end="")
        return
    rows = list(load({"role": role, **flags}, env_file=env_file).rows())
    if format is Format.JSON:
        print(
            json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=2)
        )
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for name, value, origin in rows:
        table.add_row(name, value, origin, style=None if origin != "default" else "dim")
    Console(soft_wrap=True).print(table)


def preview(role: RoleArgument = None, env_file: EnvFile = Path(".env"), **flags: Any) -> None:
    """Print every statement that a node would run at start, secrets masked."""
    settings = load({"role": role, **flags}, env_file=env_file).settings
    tokens = token_source_for(settings)
    plans: list[NodePlan] = []
    match settings.role:
        case Role.CATALOG:
            file = epochs.newest(catalog.directory_of(settings))
            plans = [catalog.node_plan(settings, tokens.internal().get_secret_value(), file)]
        case Role.QUERY:
            plans = [query.node_plan(settings, tokens)]
        case None:
            raise SettingError(
                "AZQUACK_ROLE is not set: say azquack preview catalog or azquack preview query"
            )
    for plan in plans:
        print(plan.script())
