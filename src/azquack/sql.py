"""SQL text: quoting, and statements that know which of their parts are secret."""

from __future__ import annotations

from dataclasses import dataclass

MASK = "********"


def first_line(error: BaseException) -> str:
    """DuckDB's message without the hints and stack that follow."""
    return str(error).strip().splitlines()[0]


def literal(value: str | int | float | bool) -> str:
    """`value` as a DuckDB literal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement that a node runs at start.

    `text` is what DuckDB gets. `masked` is the same with every secret replaced, for `azquack preview`,
    logs and errors; it is also the `repr`, so that a stray log line cannot give a secret away.
    """

    text: str
    masked: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Statement({self.masked!r})"

    def scrub(self, message: str) -> str:
        """`message`, an error of this statement (DuckDB quotes what it cannot parse), without secrets."""
        for secret in self.secrets:
            message = message.replace(literal(secret), MASK).replace(secret, MASK)
        return message


def statement(template: str, /, **secrets: str) -> Statement:
    """A statement from `template`, in which `{name}` stands for the literal of `secrets[name]`.

    Only the secrets are filled in: quote everything else with `literal` and `identifier` first and double
    its braces with `braces`.
    """
    text = template.format(**{name: literal(value) for name, value in secrets.items()})
    masked = template.format(**dict.fromkeys(secrets, f"'{MASK}'"))
    return Statement(text, masked, tuple(secrets.values()))


def plain(text: str) -> Statement:
    """A statement with no secret in it."""
    return Statement(text, text)


def braces(text: str) -> str:
    """`text` with its braces doubled, to stand in a template of `statement`."""
    return text.replace("{", "{{").replace("}", "}}")
