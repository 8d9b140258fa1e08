"""`azquack up` and `down`: the pair on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from azquack.cli.options import with_settings
from azquack.cli.target import DirOption, target
from azquack.config.settings import Settings, TokenSourceKind
from azquack.errors import AzQuackError, LakeError, StartError
from azquack.lake import client
from azquack.process import logs
from azquack.replicas import catalog, demo, query
from azquack.replicas.child import ChildState
from azquack.replicas.flight import spec as flight
from azquack.replicas.local import LakeDirectory, Running
from azquack.replicas.supervisor import Supervisor
from azquack.tokens.configured import token_source_for

LOOPBACK = "127.0.0.1"


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    app.command("up")(with_settings("Replica", "Lake", "Gateway", "Limits", "Care")(up))
    app.command("down")(down)


def up(
    directory: DirOption = Path("lake"),
    with_demo: Annotated[
        bool, typer.Option("--demo", help="Fill the schema demo with a small example.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    **flags: Any,
) -> None:
    """Run a catalog and a query replica on a local lake, and say how to attach it."""
    lake = LakeDirectory(directory.resolve())
    lake.make()
    if detach:
        running = lake.running()
        if running and not as_json:
            print(f"the lake in {lake.path} is up already (pid {running.pid})")
        running = running or _background(lake, sys.argv[1:])
    else:
        running = None
        _foreground(lake, flags, with_demo, ready_fd, as_json)
    if running:
        _show(lake, flags, running, as_json)


def _foreground(
    lake: LakeDirectory, flags: dict[str, Any], with_demo: bool, ready_fd: int | None, as_json: bool
) -> None:
    try:
        with lake.owned():
            asyncio.run(_serve(lake, flags, with_demo, ready_fd, as_json))
    except AzQuackError as error:
        if ready_fd is None:
            raise
        _tell(ready_fd, {"failed": str(error)})
        raise typer.Exit(error.exit_code) from None


async def _serve(
    lake: LakeDirectory, flags: dict[str, Any], with_demo: bool, ready_fd: int | None, as_json: bool
) -> None:
    settings = lake.load(flags).settings
    logs.configure("supervisor", settings.log_level)
    # The internal gateway is for the pair alone.
    inner = {
        "host": "127.0.0.1",
        "port": 0,
        "http_port": 0,
        "tls_cert": None,
        "tls_key": None,
        "tls_client_ca": None,
    }
    own = settings.model_copy(update=inner)
    tokens = token_source_for(settings)
    owned = catalog.ownership(own, standby=False)
    specs = [
        *catalog.children(own, tokens, owned),
        *query.children(settings, tokens, catalog=lambda ports: f"quack:127.0.0.1:{ports[catalog.GATEWAY]}"),
    ]

    async def ready(states: list[ChildState]) -> None:
        reports = {state.name: state.report for state in states}
        running = Running(
            uri=f"quack:localhost:{reports[query.GATEWAY]['port']}",
            catalog_uri=f"quack:127.0.0.1:{reports[catalog.GATEWAY]['port']}",
            http_url=f"http://127.0.0.1:{reports[query.GATEWAY]['http_port']}",
            catalog_http_url=f"http://127.0.0.1:{reports[catalog.GATEWAY]['http_port']}",
            pid=os.getpid(),
            dir=str(lake.path),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            token_file=_token_file(settings),
            tls=settings.tls_cert is not None,
            ca_file=str(settings.tls_cert.resolve()) if settings.tls_cert else "",
            data_path=_from_anywhere(settings.data_path or ""),
            flight=_flight(settings, reports),
        )
        lake.announce(running)
        if with_demo:
            await asyncio.to_thread(demo.load, target(lake.path, None))
        if ready_fd is not None:
            _tell(ready_fd, {"ready": True})
        else:
            _show(lake, flags, running, as_json)

    await Supervisor(specs, stop_timeout=settings.stop_timeout, ownership=owned).run(ready)


def _flight(settings: Settings, reports: dict[str, dict[str, Any]]) -> str:
    """Where Flight SQL is spoken; '' where it is not."""
    if settings.flight_port is None:
        return ""
    scheme = "grpc" if settings.tls_cert is None else "grpc+tls"
    host = LOOPBACK if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    return f"{scheme}://{host}:{reports[flight.NAME]['port']}"


def _token_file(settings: Settings) -> str:
    """The file that holds the token of the users; '' where it is in none."""
    if (
        settings.token_source not in (TokenSourceKind.FILE, TokenSourceKind.GENERATED)
        or not settings.token_dir
    ):
        return ""
    return str(settings.token_dir.resolve() / settings.public_token_name)


def _from_anywhere(path: str) -> str:
    """The data path as it reads in any directory."""
    return path if not path or "://" in path else str(Path(path).expanduser().resolve())


def _tell(fd: int, message: dict[str, Any]) -> None:
    with os.fdopen(fd, "w") as pipe:
        pipe.write(json.dumps(message))


def _background(lake: LakeDirectory, arguments: list[str]) -> Running:
    """Start the same command in the background and wait until it serves or says why it cannot."""
    arguments = [each for each in arguments if each not in ("--detach", "--json")]
    read_end, write_end = os.pipe()
    log = os.open(lake.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    subprocess.Popen(
        [sys.executable, "-m", "azquack", *arguments, "--ready-fd", str(write_end)],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write_end], start_new_session=True,
    )  # fmt: skip
    os.close(write_end)
    os.close(log)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    message = json.loads(text) if text else {"failed": f"the pair ended before it served: see {lake.log}"}
    if "failed" in message:
        raise StartError(message["failed"])
    running = lake.running()
    if running is None:
        raise StartError(f"the pair ended right after its start: see {lake.log}")
    return running


def _show(lake: LakeDirectory, flags: dict[str, Any], running: Running, as_json: bool) -> None:
    settings = lake.load(flags).settings
    token = token_source_for(settings).public()
    if as_json:
        print(json.dumps(asdict(running) | {"token": token.get_secret_value()}), flush=True)
        return
    gateway = client.Target(running.uri, token, running.tls, running.ca_file)
    secret, attach = gateway.attach()
    where = f"--dir {lake.path}"
    out = Console(soft_wrap=True, highlight=False)
    out.print("\n[bold green]The lake is up.[/] Attach it from any DuckDB 1.5:\n")
    if trust := gateway.trust():
        out.print(f"  {trust.text}", markup=False)
    out.print(f"  {secret.text}\n  {attach.text}\n", markup=False)
    out.print(f"  FROM {client.ALIAS}.query('SELECT 42');\n", markup=False)
    if running.flight:
        out.print(f"[dim]flight[/] {running.flight} (Arrow Flight SQL: any user, the token as the password)")
    out.print(f"[dim]shell [/] azquack connect {where}")
    out.print(f"[dim]status[/] azquack status {where}")
    out.print(
        f"[dim]stop  [/] azquack down {where}" + ("" if running.pid != os.getpid() else "   (or Ctrl-C)")
    )
    out.print(f"[dim]data  [/] {settings.data_path}, catalog {settings.catalog_dir}\n")


def down(
    directory: DirOption = Path("lake"),
    timeout: Annotated[float, typer.Option(help="Seconds to wait for it to end.")] = 60.0,
    patience: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Stop the pair. The lake stays."""
    lake = LakeDirectory(directory.resolve())
    if not lake.path.is_dir():
        raise LakeError(f"there is no lake in {lake.path}")
    if patience is not None:
        print(
            "azquack: --patience is called --timeout now: the old name goes with the next release",
            file=sys.stderr,
        )
        timeout = patience
    print("stopped" if lake.stop(timeout) else f"no pair is up in {lake.path}")
