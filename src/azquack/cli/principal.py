"""`azquack principal`: the people of a team, their roles and grants, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from azquack.principals import Grant, Role, book

principal = typer.Typer(no_args_is_help=True, help="People, their roles and what is granted to them.")

File = Annotated[
    Path,
    typer.Option("--file", envvar="AZQUACK_PRINCIPALS_FILE", help="The file of the principals (mode 0600)."),
]
Name = Annotated[str, typer.Argument(help="The principal.")]
Right = Annotated[
    str, typer.Argument(help="For example: 'select on demo.*', 'write on demo.events', 'all on *'.")
]
DEFAULT = Path("lake/principals.json")


def register(app: typer.Typer) -> None:
    """Put the commands on `app`."""
    app.add_typer(principal, name="principal", rich_help_panel="Using a lake")


@principal.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="What it may do at most.")] = Role.READER,
    grant: Annotated[list[str] | None, typer.Option(help="A first grant; may be repeated.")] = None,
    file: File = DEFAULT,
) -> None:
    """Add a principal and show its token, once."""
    grants = tuple(Grant.parse(text) for text in grant) if grant else None
    token = book.edit(file, lambda known: book.add(known, name, role, grants))
    _show(token)


@principal.command("list")
def list_(file: File = DEFAULT) -> None:
    """List the principals, their roles and grants."""
    for record in book.read(file).records:
        grants = "everything" if record.grants is None else "; ".join(map(str, record.grants)) or "nothing"
        typer.echo(f"{record.name}\t{record.role}\t{grants}")


@principal.command()
def revoke(name: Name, file: File = DEFAULT) -> None:
    """Take a principal away; its sessions end at once."""
    book.edit(file, lambda known: (book.revoke(known, name), None))


@principal.command()
def rotate(name: Name, file: File = DEFAULT) -> None:
    """Give a principal a new token and show it, once; sessions of the old one end at once."""
    _show(book.edit(file, lambda known: book.rotate(known, name)))


@principal.command()
def grant(name: Name, right: Right, file: File = DEFAULT) -> None:
    """Grant a right; from the first on, a principal reaches nothing else."""
    given = Grant.parse(right)
    book.edit(file, lambda known: (book.grant(known, name, given), None))


@principal.command()
def ungrant(name: Name, right: Right, file: File = DEFAULT) -> None:
    """Take a granted right back; without any left, a principal reaches nothing."""
    taken = Grant.parse(right)
    book.edit(file, lambda known: (book.ungrant(known, name, taken), None))


def _show(token: str) -> None:
    # The token alone goes to standard output, so that it can be piped into a secret store.
    typer.echo("This token is shown once and kept nowhere:", err=True)
    typer.echo(token)
