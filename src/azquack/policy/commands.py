"""Statements that are neither queries nor writes: what EXPLAIN, USE, SET, CALL and CHECKPOINT are about."""

from __future__ import annotations

from azquack.policy.errors import Unclear
from azquack.policy.lexer import Text
from azquack.policy.piece import Piece
from azquack.policy.reader import Reader, Target
from azquack.policy.write import QUERY_WORDS


def explained(text: Text, reserved: frozenset[str]) -> Piece:
    """What an EXPLAIN explains. Raises `Unclear`."""
    reader = Reader(text, reserved)
    reader.need("explain")
    reader.take("analyze")
    if reader.sign() == "(" and reader.word(1) not in QUERY_WORDS and reader.sign(1) != "(":
        # Options: EXPLAIN (ANALYZE, FORMAT json) …
        while reader.sign() != ")":
            if reader.done or not (reader.tokens[reader.at].name or reader.sign() in ("(", ",", "'")):
                raise Unclear("the statement cannot be checked: expected options of EXPLAIN")
            reader.at += 1
        reader.at += 1
    return Piece(text, reader.rest())


def used(text: Text, reserved: frozenset[str]) -> Target | None:
    """The schema that a USE takes, or None when `text` is another SET. Raises `Unclear`."""
    reader = Reader(text, reserved)
    if not reader.take("use"):
        return None
    target = reader.schema()
    return target if reader.done else None


def is_harmless_setting(text: Text, reserved: frozenset[str]) -> bool:
    """Whether `text` sets how this session alone shows times: the settings that a locked node leaves open."""
    reader = Reader(text, reserved)
    if not reader.take("set"):
        return False
    if not reader.take("session"):
        reader.take("local")
    if not (reader.take("timezone") or reader.take("calendar")):
        return False
    if not reader.take("to") and reader.sign() == "=":
        reader.at += 1
    value = reader.sign() == "'"
    reader.at += 1
    return value and reader.done


def called(text: Text, reserved: frozenset[str]) -> tuple[Piece | None, list[str]]:
    """A CALL as the query that reads its function, or None and the names of a CHECKPOINT. Raises `Unclear`."""
    reader = Reader(text, reserved)
    if reader.take("call"):
        return Piece(text, "SELECT * FROM", reader.rest()), []
    reader.take("force")
    reader.need("checkpoint")
    names = [] if reader.done else reader.parts()
    if not reader.done:
        raise Unclear("the statement cannot be checked: something follows its end")
    return None, names
