"""The command line: `azquack`."""

from __future__ import annotations

import sys

import typer

from azquack.cli import backup, check, lake, maintain, pair, principal, serve
from azquack.errors import AzQuackError

app = typer.Typer(
    name="azquack",
    help="A shared DuckDB lakehouse that any stock DuckDB joins with one ATTACH.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
pair.register(app)
lake.register(app)
backup.register(app)
check.register(app)
maintain.register(app)
serve.register(app)
app.add_typer(principal.app, name="principal", rich_help_panel="Using a lake")


def main() -> None:
    """Run a command. Every error that we raise on purpose becomes one sentence and an exit code."""
    try:
        app()
    except AzQuackError as error:
        print(f"azquack: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does.
        sys.stderr.close()
        sys.exit(0)
