"""`azquack serve`: one replica."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import typer

from azquack import logs
from azquack.child import ChildState
from azquack.cli.options import ALL_GROUPS, EnvFile, RoleArgument, with_settings
from azquack.errors import SettingError
from azquack.roles import catalog, query
from azquack.settings import Role, Settings
from azquack.sources import load
from azquack.supervisor import Supervisor
from azquack.tokens import token_source_for


def register(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command("serve", rich_help_panel="Replicas")(with_settings(*ALL_GROUPS)(serve))


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
