"""The command line: `azquack`. Each command is imported when it is called, so that none waits for another's imports."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from azquack import __version__
from azquack.errors import AzQuackError


class Command(NamedTuple):
    """A command: the module that has it, the heading it stands under, and what it does in a line."""

    module: str
    panel: str
    help: str


PAIR, USE, CARE, REPLICA = "The pair on this machine", "Using a lake", "Caring for a lake", "Replicas"
COMMANDS = {
    "up": Command("pair", PAIR, "Run a catalog and a query replica on a local lake, and say how to attach it."),
    "down": Command("pair", PAIR, "Stop the pair. The lake stays."),
    "status": Command("status", PAIR, "Say what is up, since when, which versions, and what the lake holds."),
    "sql": Command("sql", USE, "Run SQL in the lake, through the public gateway, and show what comes back."),
    "connect": Command("sql", USE, "Open the stock duckdb shell with the lake attached."),
    "sessions": Command("sessions", USE, "Who is at the gateway, what runs and for how long."),
    "cancel": Command("sessions", USE, "Cancel what a session has running."),
    "principal": Command("principal", USE, "People, their roles and what is granted to them."),
    "doctor": Command("doctor", CARE, "Say what is wrong with machine, settings, lake and deployment."),
    "lake": Command("lake", CARE, "Which lake this is: its id, and where it stands."),
    "backup": Command("backup", CARE, "Back the catalog up, list its backups, prove that they work."),
    "restore": Command("backup", CARE, "Put a backup into the place of the catalog, which must be stopped."),
    "check": Command("check", CARE, "Look for damage: torn snapshots, missing files, wrong statistics."),
    "maintain": Command("maintain", CARE, "Merge small files, expire old snapshots, delete what nobody needs."),
    "serve": Command("serve", REPLICA, "Run one replica in the foreground until SIGTERM."),
    "config": Command("config", REPLICA, "Show the effective settings and where each came from, secrets masked."),
    "preview": Command("config", REPLICA, "Print every statement that a node would run at start, secrets masked."),
}  # fmt: skip


class Commands(TyperGroup):
    """The commands of the table. Its own help is plain text, which needs nothing of theirs."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        app = typer.Typer()
        # Without a callback, typer takes the name of an only command for its first argument.
        app.callback()(lambda: None)
        import_module(f"azquack.cli.{COMMANDS[cmd_name].module}").register(app)
        group = typer.main.get_command(app)
        assert isinstance(group, TyperGroup)
        return group.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # Typer looks here for what may have been meant.
        names: Any = dict.fromkeys(COMMANDS)
        self.commands = names
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for panel in dict.fromkeys(each.panel for each in COMMANDS.values()):
            with formatter.section(panel):
                formatter.write_dl(
                    [(name, each.help) for name, each in COMMANDS.items() if each.panel == panel]
                )


def application() -> typer.Typer:
    """The command line."""
    app = typer.Typer(
        name="azquack",
        cls=Commands,
        help="A shared DuckDB lakehouse that any stock DuckDB joins with one ATTACH.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    return app


def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda asked: _say_version(asked),
            help="Say which version this is.",
        ),
    ] = False,
) -> None: ...


def _say_version(asked: bool) -> None:
    if asked:
        print(f"azquack {__version__}, DuckDB {version('duckdb')}, Python {sys.version.split()[0]}")
        raise typer.Exit


def main() -> None:
    """Run a command. Every error that we raise on purpose becomes one sentence and an exit code."""
    try:
        application()()
    except AzQuackError as error:
        print(f"azquack: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of our output has gone, as `head` does.
            sys.stderr.close()
            sys.exit(0)
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"azquack: this machine failed: {(error.strerror or str(error)).lower()}{where}", file=sys.stderr
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
