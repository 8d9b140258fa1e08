"""Flags of the command line that are drawn from the table of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from azquack.config.settings import PREFIX, Settings, group_of

ALL_GROUPS = ("Replica", "Lake", "Gateway", "Limits", "Care", "Storage", "Tokens")
RoleArgument = Annotated[
    str | None, typer.Argument(metavar="[catalog|query]", help="The role. [AZQUACK_ROLE]", show_default=False)
]
EnvFile = Annotated[Path, typer.Option(help="File of settings, one NAME=VALUE a line.")]


def with_settings(*groups: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one flag for each setting of `groups`; it gets the given ones as keywords.

    Settings that hold secrets get no flag: an argument list is there for every user of a machine to read.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name])
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        taken = {parameter.name for parameter in own}
        flags = [
            _flag(name, str(field.description), group_of(name), field.annotation is bool)
            for name, field in Settings.model_fields.items()
            if group_of(name) in groups and name not in taken and "Secret" not in str(field.annotation)
        ]

        def run(**values: Any) -> None:
            command(**values)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *flags]}
        return run

    return decorate


def _flag(name: str, help_text: str, group: str, boolean: bool) -> inspect.Parameter:
    option = typer.Option(
        f"--{name.replace('_', '-')}", help=f"{help_text} [{PREFIX}{name.upper()}]", rich_help_panel=group
    )
    kind = bool | None if boolean else str | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )
