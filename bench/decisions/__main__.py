"""The figures of docs/decisions: `make bench-decisions ARGS="http --rounds 5"`."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

QUESTIONS = {
    "http": "http_servers", "upstream": "upstreams", "pipes": "pipes", "tokens": "tokenizers",
    "retention": "retentions",
}  # fmt: skip


def main(
    question: Annotated[
        list[str] | None, typer.Argument(help=f"Some of {', '.join(QUESTIONS)}; all by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds through all contenders.")] = 5,
) -> None:
    """Measure libraries in the place of our own parts, and print the tables."""
    for each in question or QUESTIONS:
        if each not in QUESTIONS:
            raise typer.BadParameter(f"there is no question {each}: {', '.join(QUESTIONS)}")
        for table in import_module(f"bench.decisions.{QUESTIONS[each]}").run(rounds):
            print(table.text(), end="\n\n", flush=True)


if __name__ == "__main__":
    typer.run(main)
