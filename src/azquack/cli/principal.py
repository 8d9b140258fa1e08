"""`azquack principal`: the people of a team, their roles and grants, in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from azquack.principals import Grant, Role, principal_list

VARIABLE = "AZQUACK_PRINCIPALS_FILE"
principal = typer.Typer(no_args_is_help=True, help="People, their roles and what is granted to them.")

File = Annotated[
    Path | None,
    typer.Option(
        "--file", help=f"The file of the principals (mode 0600). [{VARIABLE}, else lake/principals.json]"
    ),
]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="The lake directory whose principals.json is meant.")
]
Name = Annotated[str, typer.Argument(help="The principal.")]
Right = Annotated[
    str, typer.Argument(help="For example: 'select on demo.*', 'write on demo.events', 'all on *'.")
]


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    app.add_typer(principal, name="principal")


@principal.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="What it may do at most.")] = Role.READER,
    grant: Annotated[list[str] | None, typer.Option(help="A first grant; may be repeated.")] = None,
    file: File = None,
    directory: Directory = None,
) -> None:
    """Add a principal and show its token, once."""
    grants = tuple(Grant.parse(text) for text in grant) if grant else None
    token = principal_list.edit(
        _place(file, directory), lambda known: principal_list.add(known, name, role, grants)
    )
    _show(token)


@principal.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    file: File = None,
    directory: Directory = None,
) -> None:
    """List the principals, their roles and grants."""
    records = principal_list.read(_place(file, directory)).records
    if as_json:
        rows = [
            {
                "name": each.name,
                "role": each.role,
                "grants": None if each.grants is None else list(map(str, each.grants)),
            }
            for each in records
        ]
        print(json.dumps(rows, indent=2))
        return
    for record in records:
        grants = "everything" if record.grants is None else "; ".join(map(str, record.grants)) or "nothing"
        typer.echo(f"{record.name}\t{record.role}\t{grants}")


@principal.command()
def revoke(name: Name, file: File = None, directory: Directory = None) -> None:
    """Take a principal away; its sessions end at once."""
    principal_list.edit(_place(file, directory), lambda known: (principal_list.revoke(known, name), None))


@principal.command()
def rotate(name: Name, file: File = None, directory: Directory = None) -> None:
    """Give a principal a new token and show it, once; sessions of the old one end at once."""
    _show(principal_list.edit(_place(file, directory), lambda known: principal_list.rotate(known, name)))


@principal.command()
def grant(name: Name, right: Right, file: File = None, directory: Directory = None) -> None:
    """Grant a right; from the first on, a principal reaches nothing else."""
    given = Grant.parse(right)
    principal_list.edit(
        _place(file, directory), lambda known: (principal_list.grant(known, name, given), None)
    )


@principal.command()
def ungrant(name: Name, right: Right, file: File = None, directory: Directory = None) -> None:
    """Take a granted right back; without any left, a principal reaches nothing."""
    taken = Grant.parse(right)
    principal_list.edit(
        _place(file, directory), lambda known: (principal_list.ungrant(known, name, taken), None)
    )


def _place(file: Path | None, directory: Path | None) -> Path:
    """The file that is meant: what a flag says goes before the environment."""
    if file is None and directory is None and (named := os.environ.get(VARIABLE)):
        return Path(named)
    return file or (directory or Path("lake")) / "principals.json"


def _show(token: str) -> None:
    # The token alone goes to standard output, so that it can be piped into a secret store.
    typer.echo("This token is shown once and kept nowhere:", err=True)
    typer.echo(token)
