"""`azquack serve`: one replica."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import typer

from azquack.cli.options import ALL_GROUPS, EnvFile, RoleArgument, with_settings
from azquack.config.settings import Role, Settings
from azquack.config.sources import load
from azquack.errors import AzQuackError, SettingError
from azquack.process import logs
from azquack.replicas import catalog, query
from azquack.replicas.child import ChildState
from azquack.replicas.starting import StartingSidecar
from azquack.replicas.supervisor import Supervisor
from azquack.tokens.configured import token_source_for

log = logging.getLogger(__name__)

# Seconds for which a start is tried again that a role in Azure would let through, and between two tries.
ROLE_TIMEOUT = 600.0
ROLE_PAUSE = 10.0


def register(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command("serve")(with_settings(*ALL_GROUPS)(serve))


def serve(role: RoleArgument = None, env_file: EnvFile = Path(".env"), **flags: Any) -> None:
    """Run one replica in the foreground until SIGTERM.

    Once it serves, it prints one line of JSON with its ports; a catalog that another one owns first says
    standby, and ready once it has taken over.
    """
    settings = load({"role": role, **flags}, env_file=env_file).settings
    logs.configure("supervisor", settings.log_level)
    with StartingSidecar(settings.http_host, settings.http_port) as starting:
        _run(settings, starting)


def _run(settings: Settings, starting: StartingSidecar) -> None:
    """Run the replica; a start that lacks a role is tried again until the role counts."""
    deadline = time.monotonic() + ROLE_TIMEOUT
    while True:
        try:
            return asyncio.run(replica(settings, starting).run(_announce))
        except AzQuackError as error:
            if not error.may_pass or time.monotonic() > deadline:
                raise
            log.warning("the start waits for a role", extra={"reason": str(error)})
            starting.waits_for(f"a role, which takes some minutes to count: {error}")
            starting.open()
            time.sleep(ROLE_PAUSE)


def replica(settings: Settings, starting: StartingSidecar | None = None) -> Supervisor:
    """The supervisor of the replica that `settings` describe, with what answers its probes meanwhile.

    Raises `SettingError`, `TokenError`, `LakeError`.
    """
    tokens = token_source_for(settings)
    match settings.role:
        case Role.CATALOG:
            owned = catalog.ownership(settings, standby=True)
            specs = catalog.children(settings, tokens, owned)
            return Supervisor(specs, stop_timeout=settings.stop_timeout, ownership=owned, starting=starting)
        case Role.QUERY:
            specs = query.children(settings, tokens)
            return Supervisor(specs, stop_timeout=settings.stop_timeout, starting=starting)
        case None:
            raise SettingError("AZQUACK_ROLE is not set: run azquack serve catalog or azquack serve query")


async def _announce(states: list[ChildState]) -> None:
    waits = any(state.name == catalog.NODE and not state.ready for state in states)
    ports = {state.name: state.report["port"] for state in states if "port" in state.report}
    print(json.dumps({"event": "standby" if waits else "ready", "ports": ports}), flush=True)
