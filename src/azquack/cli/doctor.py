"""`azquack doctor`: what is wrong, in one list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from azquack.cli.diagnosis import deployment, lake, machine, settings
from azquack.cli.diagnosis.finding import Diagnosis, Level
from azquack.cli.options import with_settings
from azquack.cli.site import described
from azquack.cli.target import UriOption, target

DirOption = Annotated[
    Path | None, typer.Option("--dir", help="The lake directory of a pair on this machine. Default: lake.")
]
DEFAULT = Path("lake")


def register(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command("doctor")(with_settings("Replica", "Lake", "Gateway", "Care", "Storage", "Tokens")(doctor))


def doctor(
    directory: DirOption = None,
    uri: UriOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    **flags: Any,
) -> None:
    """Say what is wrong with machine, settings, lake and deployment, and what to do about each.

    It changes nothing, and looks at whatever is there: no lake, one that is stopped or broken, a pair that is up, or
    with --uri a gateway elsewhere. Exits with 1 when something does not work.
    """
    diagnosis = Diagnosis()
    if uri is not None:
        machine.examine(diagnosis, None)
        with diagnosis.examining("gateway", "see azquack sql --help for how a gateway elsewhere is named"):
            deployment.examine_gateway(diagnosis, target(DEFAULT, uri))
    else:
        _here(diagnosis, directory, flags)
    if as_json:
        print(json.dumps(_message(diagnosis), indent=2))
    else:
        _print(diagnosis)
    if diagnosis.failed:
        raise typer.Exit(1)


def _here(diagnosis: Diagnosis, directory: Path | None, flags: Mapping[str, Any]) -> None:
    settings.examine_sources(diagnosis)
    found = None
    if not diagnosis.failed:
        with diagnosis.examining("settings", "azquack config shows every setting and where it comes from"):
            found = described(directory, flags)
    machine.examine(diagnosis, found.settings if found else None)
    if found is None:
        return
    settings.examine(diagnosis, found.settings)
    running = found.directory.running() if found.directory else None
    if found.directory is None or found.directory.path.is_dir():
        lake.examine(diagnosis, found)
    elif directory is not None:
        diagnosis.error("lake", f"there is no lake in {found.directory.path}", "azquack up makes one there")
    if running is None or found.directory is None:
        settings.examine_port(diagnosis, found.settings)
        return
    deployment.examine_pair(diagnosis, running, str(found.directory.log))
    with diagnosis.examining("gateway", "see that the token is right"):
        deployment.examine_gateway(diagnosis, target(found.directory.path, None))


def _message(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "well": not diagnosis.failed,
        "examined": list(dict.fromkeys(diagnosis.examined)),
        "findings": [asdict(each) for each in diagnosis.findings],
    }


def _print(diagnosis: Diagnosis) -> None:
    out = Console(soft_wrap=True, highlight=False)
    for each in diagnosis.findings:
        style = "bold red" if each.level is Level.ERROR else "yellow"
        out.print(Text.assemble((each.level, style), f"  {each.about}: {each.problem}"))
        out.print(Text(f"       {each.advice}", "dim"))
    examined = ", ".join(dict.fromkeys(diagnosis.examined))
    if diagnosis.findings:
        out.print(Text(f"\nlooked at {examined}"))
    else:
        out.print(Text.assemble(("nothing is wrong", "bold green"), f" with {examined}"))
