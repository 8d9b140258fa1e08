"""Nasty texts of any length: each piles up one thing that a scanner, a pattern or a parser may choke on."""

from __future__ import annotations

from collections.abc import Callable

Make = Callable[[int], str]


def repeated(piece: str, start: str = "", end: str = "") -> Make:
    """About `n` characters of `piece` after `piece`."""
    return lambda n: start + piece * (n // len(piece)) + end


def nested(opening: str, closing: str, start: str = "select ", middle: str = "1") -> Make:
    """`opening` as deep as `n` characters go, and as often `closing`."""
    return lambda n: (
        start
        + opening * (n // (len(opening) + len(closing)))
        + middle
        + closing * (n // (len(opening) + len(closing)))
    )


SHAPES: dict[str, Make] = {
    "tags": lambda n: " ".join(f"$a{i}$" for i in range(n // 8)),
    "one tag and others": repeated("$b$ ", "select $a$ "),
    "nearly the tag": repeated("$a", "select $a$ "),
    "dollars": repeated("$"),
    "pairs of dollars": repeated("$$ "),
    "parameters": repeated("$1 "),
    "single quotes": repeated("'"),
    "double quotes": repeated('"'),
    "odd quotes": repeated("''", "select ", "'"),
    "an open string": repeated("a", "select '"),
    "an open name": repeated("a", 'select "'),
    "a long name": repeated("a", 'select "', '"'),
    "doubled quotes in a name": repeated('""', 'select "', '"'),
    "strings": repeated("'a' "),
    "strings that go on": repeated("E'a'\n"),
    "an escaped string": repeated("\\'", "select E'"),
    "escapes": repeated("\\\\", "select E'", "'"),
    "backslashes": repeated("\\"),
    "unicode escapes": repeated("\\0061", "select U&'", "'"),
    "nested comments": repeated("/*"),
    "comments in a row": repeated("/**/"),
    "an open comment": repeated("*", "/*"),
    "slashes in a comment": repeated("/", "/*"),
    "line comments": repeated("--\n"),
    "one line comment": repeated("-"),
    "parentheses": nested("(", ")"),
    "open parentheses": repeated("("),
    "closed parentheses": repeated(")"),
    "brackets": nested("[", "]"),
    "pairs of brackets": repeated("[]", "select null::int"),
    "braces": nested("{'a':", "}"),
    "open tuples": repeated("(1,"),
    "open tuples of strings": repeated("('a',"),
    "case": nested("case when a then ", " end"),
    "open case": repeated("case "),
    "calls": nested("abs(", ")"),
    "queries": nested("(select * from ", ")", "select * from ", "t"),
    "set operations": nested("except all (select 1 ", ")", "select 1 ", ""),
    "a row of set operations": repeated(" except all select 1", "select 1"),
    "unions": repeated(" union select 1", "select 1"),
    "statements": repeated("select 1;"),
    "semicolons": repeated(";", "select 1"),
    "inserts": repeated("insert into t values (1);"),
    "ctes": lambda n: "with " + ",".join(f"a{i} as (select 1)" for i in range(n // 20)) + " select 1",
    "nested types": nested("struct(a ", ")", "select null::", "int"),
    "dots": repeated("."),
    "a name of many parts": repeated(".a", "select a"),
    "pluses": repeated("+", "select 1"),
    "pluses and minuses": repeated("+-", "select 1"),
    "operators": repeated("<=>"),
    "other operators": repeated("~!@^&|"),
    "questions": repeated("?"),
    "signs with blanks": repeated("- ", "select ", "1"),
    "not": repeated("not ", "select ", "true"),
    "sums": repeated(" + 1", "select 1"),
    "digits": repeated("1", "select "),
    "points in numbers": repeated("1."),
    "exponents": repeated("1e"),
    "underscores": repeated("1_"),
    "numbers": lambda n: "select * from t where a in (" + ",".join(map(str, range(n // 7))) + ")",
    "texts": lambda n: "select * from t where a in (" + ",".join(f"'{i:032x}'" for i in range(n // 35)) + ")",
    "columns": lambda n: "select " + ",".join(f"a{i}" for i in range(n // 7)),
    "rows": lambda n: "insert into t values " + ",".join(f"({i},'a')" for i in range(n // 12)),
    "names": repeated("abc ", "select "),
    "capitals": repeated("SELECT "),
    "secrets": repeated("token 'a' "),
    "blanks": repeated(" "),
    "line breaks": repeated("\n", "select 'a'"),
    "wide blanks": repeated("\u00a0", "select", "1"),
    "blanks of all kinds": repeated(" \u00a0\t\u3000", "select", "1"),
    "letters": repeated("\u00e9"),
    "faces": repeated("\U0001f600"),
    "surrogates": repeated("\ud83d"),
    "zeros": repeated("\0", "select 1"),
    "commas": repeated(","),
    "equals signs": repeated("="),
    "colons": repeated("::"),
    "percents": repeated("%41"),
    "base64": repeated("QUJD", "eyJ", "=="),
}
