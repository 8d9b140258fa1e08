"""The command line: `azquack`."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from azquack.errors import AzQuackError

MODULES = {
    "pair": ("up", "down", "status"),
    "lake": ("sql", "connect"),
    "identity": ("lake",),
    "backup": ("backup", "restore"),
    "check": ("check",),
    "maintain": ("maintain",),
    "serve": ("serve",),
    "config": ("config", "preview"),
    "principal": ("principal",),
}


def application(command: str) -> typer.Typer:
    """The command line: of `command` alone when there is one of that name, else all of it.

    What the other commands import would stay in the memory of a replica as long as it serves.
    """
    app = typer.Typer(
        name="azquack",
        help="A shared DuckDB lakehouse that any stock DuckDB joins with one ATTACH.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # Without a callback, typer takes the name of an only command for its first argument.
    app.callback()(lambda: None)
    own = [module for module, commands in MODULES.items() if command in commands]
    for module in own or MODULES:
        import_module(f"azquack.cli.{module}").register(app)
    return app


def main() -> None:
    """Run a command. Every error that we raise on purpose becomes one sentence and an exit code."""
    try:
        application("".join(sys.argv[1:2]))()
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
