"""Of which of DuckDB's types an error is: a node of Quack 1 says what went wrong and leaves that out.

The first rule whose pattern the sentence begins with counts. `tests/quack3/test_exceptions.py` holds the rules against
DuckDB's own word for many statements that fail.
"""

from __future__ import annotations

import re

DEFAULT = "Invalid Input"
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("INTERRUPT", (r"Interrupted!",)),
    ("Parser", (r"syntax error at ", r"unterminated quoted", r"zero-length delimited identifier")),
    (
        "TransactionContext",
        (r"cannot (?:commit|rollback|start a transaction)", r"Current transaction is aborted", r"Transaction conflict"),
    ),
    (
        "Catalog",
        (
            r"[\w ]+ with name .*(?:does not exist!|already exists!)",
            r"unrecognized configuration parameter",
            r"[\w ]+ \".*\" already exists",
            r"(?:Catalog|Schema) \".*\" does not exist",
        ),
    ),
    (
        "Conversion",
        (
            r"Could not (?:convert|cast)", r"Casting value", r"Type [\w\[\](), ]+ with value", r"Failed to cast",
            r"Unimplemented type for cast", r"invalid \w+ field", r"\w+ field value", r"Malformed JSON",
            r"[Ii]nvalid (?:hex|escape|unicode)", r".* can't be cast",
        ),
    ),
    (
        "Constraint",
        (r".*constraint (?:violation|failed)", r"Duplicate key", r"Violates ", r"NOT NULL constraint"),
    ),
    ("Out of Range", (r"Overflow in ", r"Overflow on ", r".*out of range")),
    ("Out of Memory", (r"could not allocate", r"failed to (?:allocate|pin|offload)")),
    ("IO", (r"No files found", r"Could not (?:open|read|write)", r"Cannot open", r"Failed to (?:open|read|write)")),
    ("Permission", (r".*disabled (?:by|through) configuration", r"Cannot access ")),
    ("Not implemented", (r".*\b[Nn]ot implemented", r".*\bnot supported yet")),
    (
        "Binder",
        (
            r"Referenced (?:column|table)", r"No function matches", r"Ambiguous reference", r"[Cc]olumn ",
            r"Values list", r"table .* has \d+ columns", r"Table \".*\" does not have", r"Cannot (?:mix|compare)",
            r".*aggregate", r"WHERE clause", r"UNNEST", r"GROUP BY", r"HAVING", r"Set operations", r"Macro ",
            r"Could not find key", r"Duplicate (?:alias|column|table)", r"Subquery returns", r"Table function",
            r".*window functions", r"STRUCT ", r"DEFAULT", r"Existing object", r"Catalog write mode",
        ),
    ),
)  # fmt: skip
_PATTERNS = [(kind, re.compile("|".join(patterns))) for kind, patterns in _RULES]
_PREFIX = re.compile(r"([A-Z][\w ]{0,40}) Error: ")
LONGEST = 1000
# What the gateway itself refuses, by its reason.
REFUSED = {
    "token": "Permission", "revoked": "Permission", "expired": "Permission",
    "seal": "Connection", "ended": "Connection", "node": "Connection", "broken": "Connection", "no_node": "Connection",
    "timeout": "INTERRUPT", "cancelled": "INTERRUPT", "transaction": "TransactionContext",
}  # fmt: skip


def exception_type(sentence: str, reason: str = "") -> tuple[str, str]:
    """The type of the error `sentence`, and the sentence without a prefix that says the same.

    `reason` is that of a refusal, where the gateway itself speaks.
    """
    if reason in REFUSED:
        return REFUSED[reason], sentence
    if prefix := _PREFIX.match(sentence):
        return prefix[1], sentence[prefix.end() :]
    first = sentence[:LONGEST].split("\n", 1)[0]
    # The policy has a statement parsed before it says what of it is not allowed.
    default = "Permission" if reason == "policy" else DEFAULT
    return next((kind for kind, pattern in _PATTERNS if pattern.match(first)), default), sentence
