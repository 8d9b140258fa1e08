"""`azquack up`, `down` and `status`: the pair on this machine."""

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

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from azquack.cli.lake import DirOption, target
from azquack.cli.options import with_settings
from azquack.errors import AzQuackError, LakeError, StartError
from azquack.lake import client
from azquack.process import logs
from azquack.process.health import Health
from azquack.replicas import catalog, demo, query
from azquack.replicas.child import ChildState
from azquack.replicas.local import LakeDirectory, Running
from azquack.replicas.supervisor import Supervisor
from azquack.sql import first_line
from azquack.tokens import token_source_for


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    panel = "The pair on this machine"
    app.command("up", rich_help_panel=panel)(
        with_settings("Replica", "Lake", "Gateway", "Limits", "Care")(up)
    )
    app.command("down", rich_help_panel=panel)(down)
    app.command("status", rich_help_panel=panel)(status)


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
        )
        lake.announce(running)
        if with_demo:
            await asyncio.to_thread(demo.load, target(lake.path, None))
        if ready_fd is not None:
            _tell(ready_fd, {"ready": True})
        else:
            _show(lake, flags, running, as_json)

    await Supervisor(specs, stop_timeout=settings.stop_timeout, ownership=owned).run(ready)


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
    secret, attach = client.Target(running.uri, token, tls=False).attach()
    where = f"--dir {lake.path}"
    out = Console(soft_wrap=True, highlight=False)
    out.print("\n[bold green]The lake is up.[/] Attach it from any DuckDB 1.5:\n")
    out.print(f"  {secret.text}\n  {attach.text}\n", markup=False)
    out.print(f"  FROM {client.ALIAS}.query('SELECT 42');\n", markup=False)
    out.print(f"[dim]shell [/] azquack connect {where}")
    out.print(f"[dim]status[/] azquack status {where}")
    out.print(
        f"[dim]stop  [/] azquack down {where}" + ("" if running.pid != os.getpid() else "   (or Ctrl-C)")
    )
    out.print(f"[dim]data  [/] {settings.data_path}, catalog {settings.catalog_dir}\n")


def down(
    directory: DirOption = Path("lake"),
    patience: Annotated[float, typer.Option(help="Seconds to wait for it to end.")] = 60.0,
) -> None:
    """Stop the pair. The lake stays."""
    lake = LakeDirectory(directory.resolve())
    if not lake.path.is_dir():
        raise LakeError(f"there is no lake in {lake.path}")
    print("stopped" if lake.stop(patience) else f"no pair is up in {lake.path}")


_COUNTS = """
    SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database()) AS tables,
           (SELECT count(*) FROM ducklake_snapshots(current_database())) AS snapshots,
           (SELECT coalesce(sum(file_count), 0) FROM ducklake_table_info(current_database())) AS files,
           (SELECT coalesce(sum(file_size_bytes), 0) FROM ducklake_table_info(current_database())) AS bytes
"""


def status(
    directory: DirOption = Path("lake"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is up, since when, which versions, and what the lake holds."""
    lake = LakeDirectory(directory.resolve())
    running = lake.running()
    if running is None:
        raise LakeError(f"no pair is up in {lake.path}: start it with azquack up --dir {directory}")
    # A slow import, which the other commands need not wait for.
    import httpx

    report: dict[str, Any] = {
        "uri": running.uri,
        "dir": running.dir,
        "pid": running.pid,
        "since": running.since,
    }
    for name, url in (("query", running.http_url), ("catalog", running.catalog_http_url)):
        try:
            report[name] = httpx.get(f"{url}/status", timeout=5, trust_env=False).json()
        except httpx.HTTPError as error:
            report[name] = {"ready": False, "problem": type(error).__name__}
    report["lake"] = _contents(lake)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print_status(report)
    if not all(_well(report[name]) for name in ("query", "catalog")):
        raise typer.Exit(1)


def _well(replica: dict[str, Any]) -> bool:
    """Whether it is ready and nothing is known to fail; a full disk leaves a replica ready for its readers."""
    failing = [each for each in replica.get("checks", {}).values() if each["status"] == Health.ERROR]
    return replica["ready"] and not failing


def _contents(lake: LakeDirectory) -> dict[str, Any]:
    try:
        with client.connection(target(lake.path, None)) as connection:
            rows = connection.execute(f"FROM {client.ALIAS}.query($${_COUNTS}$$)")
            names = [column[0] for column in rows.description or []]
            return dict(zip(names, map(int, rows.fetchone() or ()), strict=True))
    except (duckdb.Error, AzQuackError) as error:
        return {"problem": first_line(error)}


def _print_status(report: dict[str, Any]) -> None:
    out = Console(soft_wrap=True, highlight=False)
    out.print(
        f"[bold]{report['uri']}[/]  up since {report['since']}  (pid {report['pid']}, {report['dir']})\n"
    )
    table = Table("replica", "ready", "sessions", "restarts", "versions", box=None, pad_edge=False)
    for name in ("query", "catalog"):
        replica = report[name]
        table.add_row(
            name,
            "[green]yes[/]" if replica["ready"] else "[red]no[/]",
            str(replica.get("sessions", "?")),
            str(replica.get("restarts", "?")),
            f"duckdb {replica.get('versions', {}).get('duckdb', '?')}",
        )
    out.print(table)
    trouble = [f"{name}: {each}" for name in ("query", "catalog") for each in _trouble(report[name])]
    if trouble:
        # Whole lines, for a column of a table would break them.
        out.print("\n[red]trouble[/]")
        for each in trouble:
            out.print(each, markup=False)
    lake = report["lake"]
    text = lake.get("problem") or ", ".join(f"{value:,} {name}" for name, value in lake.items())
    out.print(f"\nlake: {text}")


def _trouble(replica: dict[str, Any]) -> list[str]:
    """What is not well, in sentences."""
    if problem := replica.get("problem"):
        return [problem]
    checks = replica.get("checks", {}).items()
    return [
        f"{name}: {each['detail'] or each['status']}" for name, each in checks if each["status"] != Health.OK
    ]
