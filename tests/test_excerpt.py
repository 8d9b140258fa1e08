"""An error of a statement that was sent with names in full shows the place in the statement as it was written."""

from __future__ import annotations

import itertools
import re

import duckdb
import pytest

from azquack.gateway.excerpt import Texts, _reached

# Each table's name stands in braces: it is sent in full.
_FORMS = (
    "FROM {nowhere}",
    "FROM {t}, {nowhere}",
    "FROM {t} AS one JOIN {t} AS two USING (a), {nowhere}",
    "FROM {t} WHERE nothing = 1",
    "FROM {t} WHERE a IN (SELECT a FROM {t} WHERE a > nothing)",
    "FROM (FROM {t}) UNION ALL FROM {t} AS lake, {nowhere}",
    "FROM {t} WHERE 'lake.main.t' = nothing",
)
_PADS = (0, 1, 30, 58, 59, 60, 61, 62, 90, 200)
_LETTERS = ("x", "é", "字", "😀", "e\u0301")
_BREAKS = (" ", "\n", "\n\n\t ")


def _error(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    with pytest.raises(duckdb.Error) as caught:
        connection.execute(sql)
    return str(caught.value)


def _shown(error: str) -> tuple[int, str, str]:
    """The line's number, what is shown of it, and what stands at the caret."""
    found = re.search(r"\n(LINE (\d+): )(.*)\n( *)\^\s*\Z", error)
    assert found is not None, f"the error shows no place: {error}"
    at = _reached(found[3], len(found[4]) - len(found[1]))
    return int(found[2]), found[3].removeprefix("...").removesuffix("..."), found[3][at : at + 7]


@pytest.mark.parametrize("letter", _LETTERS)
@pytest.mark.parametrize("form", _FORMS)
def test_the_place_that_is_shown_is_the_one_in_what_was_written(form: str, letter: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS lake; CREATE TABLE lake.main.t (a INTEGER); USE lake")
        for before, after, line in itertools.product(_PADS, (0, 70, 200), _BREAKS):
            text = f"SELECT '{letter * before}' AS pad{line}{form}{line}LIMIT 1 -- {letter * after}"
            written = re.sub(r"{(\w+)}", r"\1", text)
            sent = re.sub(r"{(\w+)}", r"lake.main.\1", text)
            number, _, word = _shown(_error(connection, written))
            own = _shown(Texts(written, sent).own(_error(connection, sent)))
            assert (own[0], own[2]) == (number, word), written
            assert own[1] in written, f"{own[1]} was not written"


def test_an_error_is_left_as_it_is_where_its_place_is_not_certain() -> None:
    texts = Texts("FROM t", "FROM lake.main.t")
    for error in (
        "Catalog Error: no",
        "Error\n\nLINE 7: FROM t\n        ^",
        "Error\n\nLINE 1: FROM other\n        ^",
    ):
        assert texts.own(error) == error
