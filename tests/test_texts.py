"""Whatever text a stranger sends: no pattern and no function that sees it takes more than a linear time."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import json
import pkgutil
import time
import tokenize
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import regex

import azquack.catalog.link
import azquack.catalog.policy
import azquack.gateway
import azquack.gateway.quack
import azquack.http
import azquack.policy
import azquack.principals
import azquack.quack.wire
from azquack.errors import AzQuackError
from azquack.gateway import audit
from azquack.gateway.excerpt import Texts
from azquack.gateway.quack import native_names
from azquack.patterns import re
from azquack.policy.errors import Refused
from azquack.policy.lexer import Text
from azquack.policy.parser import Parser
from azquack.policy.policy import Policy
from azquack.policy.shape import CHARACTERS, DEPTH, SET_OPERATIONS, STATEMENTS, measured, pieces, thinned
from azquack.principals import Grant, Principal, Role
from tests.shapes import SHAPES

PACKAGES = (
    azquack.catalog.link, azquack.catalog.policy, azquack.gateway, azquack.gateway.quack, azquack.http,
    azquack.policy, azquack.principals, azquack.quack.wire,
)  # fmt: skip
# Beside them, what sees a text by another way: of a setting, of a node's error.
MODULES = ("azquack.quack.faults", "azquack.lake.metadata", "azquack.sql")
# Characters of the shorter text, which is held against one of four times as many.
QUICK, LONG = 2 << 10, 4 << 20
# Four times the text may take this many times as long: a square would be sixteen.
MOST = 11.0
# Below this a ratio says nothing.
SECONDS = 0.02
METHODS = ("match", "fullmatch", "search", "sub", "finditer", "findall", "split")

policy = Policy()
parser = Parser()
READER, WRITER = Principal("ann", Role.READER, "f"), Principal("bob", Role.WRITER, "f")


@cache
def modules() -> tuple[types.ModuleType, ...]:
    """The modules that see what strangers send."""
    found = [importlib.import_module(name) for name in MODULES]
    for package in PACKAGES:
        found.append(package)
        for each in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if not each.name.endswith("__main__"):
                found.append(importlib.import_module(each.name))
    return tuple(found)


def uses_of_patterns() -> Iterator[tuple[str, Callable[[str], object]]]:
    """Every pattern with every method that is called on it: new ones are found by themselves."""
    for module in modules():
        known = {name: value for name, value in vars(module).items() if isinstance(value, re.Pattern)}
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called, method = node.func.value, node.func.attr
            if not isinstance(called, ast.Name) or method not in METHODS:
                continue
            if called.id in known:
                yield f"{module.__name__}.{called.id}.{method}", use_of(known[called.id], method)
            elif called.id == "re" and isinstance(node.args[0], ast.Constant):
                flags = re.IGNORECASE if "IGNORECASE" in ast.dump(node) else 0
                made = re.compile(str(node.args[0].value), flags)
                yield f"{module.__name__}.{made.pattern!r}.{method}", use_of(made, method)


def use_of(pattern: re.Pattern[Any], method: str) -> Callable[[str], object]:
    def use(text: str) -> object:
        given = text if isinstance(pattern.pattern, str) else text.encode(errors="surrogatepass")
        called = getattr(pattern, method)
        return called(given[:0], given) if method == "sub" else list(called(given) or ())

    def match(text: str) -> object:
        given = text if isinstance(pattern.pattern, str) else text.encode(errors="surrogatepass")
        return getattr(pattern, method)(given)

    return match if method in ("match", "fullmatch", "search") else use


def readers_of_texts() -> Iterator[tuple[str, Callable[[str], object]]]:
    """Every function of these modules that takes one text and nothing else: new ones are found by themselves."""
    for module in modules():
        for name, value in vars(module).items():
            if not inspect.isfunction(value) or value.__module__ != module.__name__:
                continue
            needed = [
                each for each in inspect.signature(value).parameters.values() if each.default is each.empty
            ]
            hints = typing.get_type_hints(value) if len(needed) == 1 else {}
            kind = hints.get(needed[0].name) if needed else None
            if kind in (str, bytes) and not inspect.iscoroutinefunction(value):
                yield f"{module.__name__}.{name}", reader_of(value, kind)


def reader_of(function: Callable[[Any], object], kind: type) -> Callable[[str], object]:
    def read(text: str) -> object:
        made = function(text if kind is str else text.encode(errors="surrogatepass"))
        return sum(1 for _ in made) if isinstance(made, Iterator) else made

    return read


def checked(principal: Principal, sql: str) -> object:
    """The verdict, never one that is remembered."""
    policy._remembered.cache_clear()
    return policy.check(principal, sql)


# What takes more than one text, or is a method.
CHECKS: dict[str, Callable[[str], object]] = {
    "Policy.check of a reader": lambda text: checked(READER, text),
    "Policy.check of a writer": lambda text: checked(WRITER, "insert into t " + text),
    "Policy.check of EXPLAIN": lambda text: checked(WRITER, "explain " + text),
    "Policy.check of ALTER": lambda text: checked(WRITER, "alter table t alter c set default " + text),
    "Policy.check of CREATE": lambda text: checked(WRITER, "create table t as " + text),
    "Policy.check_append": lambda text: policy.check_append(WRITER, text, text),
    "Parser.statements": parser.statements,
    "Parser.tree": parser.tree,
    "Text": lambda text: Text(text).called(),
    "Text.literal_rows": lambda text: Text(text).literal_rows(),
    "measured": measured,
    "thinned": thinned,
    "Grant.parse": Grant.parse,
    "pieces": lambda text: sum(1 for _ in pieces(text)),
    "summary_of": audit.summary_of,
    "an excerpt of what was sent": lambda text: Texts("x" + text, "lake.main.x" + text).own(
        f"Error\nLINE 1: {text}\n{' ' * len(text)}^"
    ),
    "an excerpt of something else": lambda text: Texts("FROM t", "FROM lake.main.t").own(
        f"{text}\nLINE {'1' * len(text)}: {text}\n{text}^{text}"
    ),
    "natives, a scan": lambda text: native_names._SCAN.fullmatch(f"SELECT #1 FROM {text}"),
    "natives, a table": lambda text: native_names._CREATE.fullmatch(f"CREATE TABLE {text}("),
}


def takers() -> list[Any]:
    found = dict(itertools.chain(uses_of_patterns(), readers_of_texts(), CHECKS.items()))
    return [pytest.param(function, id=name) for name, function in sorted(found.items())]


def seconds(function: Callable[[str], object], text: str) -> float:
    """The processor time that `function` takes for `text`: what others do at the same time does not count."""
    began = time.thread_time()
    with suppress(AzQuackError, Refused, ValueError, KeyError, IndexError, TypeError, AssertionError):
        function(text)
    return time.thread_time() - began


def assert_linear(function: Callable[[str], object], length: int) -> None:
    for name, make in SHAPES.items():
        short, long = make(length), make(4 * length)
        took = seconds(function, long)
        if took < SECONDS * length / QUICK / 8:
            continue
        before = min(seconds(function, short) for _ in range(3))
        took = min(took, seconds(function, long), seconds(function, long))
        assert took < max(MOST * before, SECONDS), f"{name}: {before:.4f} s, then {took:.4f} s for four times"


@pytest.mark.parametrize("function", takers())
def test_nothing_that_sees_a_text_takes_more_than_a_linear_time(function: Callable[[str], object]) -> None:
    assert_linear(function, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("function", takers())
def test_nor_does_it_for_sixteen_megabytes(function: Callable[[str], object]) -> None:
    assert_linear(function, LONG)


def test_a_possessive_pattern_is_made_by_the_module_for_them() -> None:
    """Python 3.11.0 to 3.11.4 matches these wrongly, without a word."""
    root = Path(azquack.__path__[0])
    for file in root.rglob("*.py"):
        with file.open("rb") as source:
            strings = [
                each.string for each in tokenize.tokenize(source.readline) if each.type == tokenize.STRING
            ]
        possessive = [
            each for each in strings if re.search(r"[*+?}]\+|\(\?>", re.sub(r"(?i)\\\+|c\+\+", "", each))
        ]
        made = "from azquack.patterns import re\n" in file.read_text()
        assert made or not possessive, f"{file.relative_to(root)}: {possessive}"


def test_on_old_and_new_pythons_a_pattern_matches_the_same() -> None:
    """In the place of the standard library's module stands `regex` where that is wrong."""
    texts = [make(120) for make in SHAPES.values()]
    texts += json.loads((Path(__file__).parent / "catalog_statements.json").read_text())
    for module in modules():
        for name, pattern in vars(module).items():
            if not isinstance(pattern, re.Pattern):
                continue
            other = regex.compile(
                pattern.pattern, pattern.flags & (re.IGNORECASE | re.DOTALL | re.VERBOSE | re.MULTILINE)
            )
            for text in texts:
                given = text if isinstance(pattern.pattern, str) else text.encode(errors="surrogatepass")
                for method in ("match", "search", "fullmatch"):
                    one, two = getattr(pattern, method)(given), getattr(other, method)(given)
                    assert (one and one.span()) == (two and two.span()), (
                        f"{module.__name__}.{name}.{method}: {text}"
                    )


def test_a_list_of_a_hundred_thousand_keys_passes() -> None:
    keys = ",".join(str(i) for i in range(100_000, 200_000))
    texts = ",".join(f"'{i:08d}'" for i in range(80_000))
    for sql in (f"select * from t where a in ({keys})", f"delete from t where a in ({texts})"):
        assert len(sql) < CHARACTERS
        verdict = policy.check(WRITER, sql)
        assert verdict.allowed, verdict.reason
    assert not policy.check(WRITER, f"select * from t where a in ({keys}, getenv('x'))").allowed
    assert not policy.check(WRITER, f"select getenv('x') from t where a in ({keys})").allowed
    assert not policy.check(WRITER, f"select * from t where a in ({keys}) and b in (from 'x.csv')").allowed


def test_of_a_thinned_text_every_byte_that_is_left_stands_where_it_stood() -> None:
    sql = (
        "select '\u00e9', a in (1, " + "'\u00e9\U0001f600', " * 500 + "2), b, f(" + "(1, 'x'), " * 500 + "c)"
    )
    thin = thinned(sql)
    assert len(thin) < len(sql.encode())
    assert len(thin.encode()) == len(sql.encode())
    for mark in ("a in (1,", "2), b, f((1, 'x'),", "c)"):
        assert thin.encode().find(mark.encode()) == sql.encode().find(mark.encode()) >= 0
    assert all(
        one == other or other == ord(" ") or chr(other) == ","
        for one, other in zip(sql.encode(), thin.encode(), strict=True)
    )


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("select '" + "a" * CHARACTERS + "'", "A statement may have 1,000,000 characters at most."),
        (
            "select " + "(" * (DEPTH + 1) + "1" + ")" * (DEPTH + 1),
            "A statement may be nested 100 deep at most.",
        ),
        ("select 1;" * (STATEMENTS + 1), "A text may hold 256 statements at most."),
        (
            "select 1" + " except select 1" * (SET_OPERATIONS + 1),
            "A text may hold 256 EXCEPT and INTERSECT at most.",
        ),
        ('select "' + "a" * 1025 + '"', "A name may have 1,024 characters at most."),
        (
            "select 1" + "+" * 33 + "1",
            "An operator may have 32 characters at most: put a blank between signs.",
        ),
        ("select null::int" + "[]" * 33, "32 pairs of brackets may follow each other at most."),
        ("select " + "/*" * 33, "The comments are nested too deeply, or too many stand in a row."),
        ("select 1\0", "The statement holds a NUL character."),
        ("select \ud800", "The statement is no valid UTF-8."),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_what_goes_beyond_a_bound_is_told_which(sql: str, sentence: str) -> None:
    assert policy.check(WRITER, sql).reason == sentence


@pytest.mark.parametrize(
    "sql",
    [
        "/" + "*" * 200 + " a banner " + "*" * 200 + "/ select 1",
        "select 1 " + "-" * 200 + "\n + 2",
        "select '" + "-+/*" * 200 + "'",
        "select $$" + "((((/*" * 200 + "$$, E'\\'" + "((" * 100 + "'",
        "select 1" + " + 1" * 300,
        "select 1;" * 200,
        "select 1 " + ";" * 1000,
        "select * from t where a in (" + ", ".join(["?"] * 2000) + ")",
    ],
    ids=range(8),
)
def test_what_only_looks_piled_up_passes(sql: str) -> None:
    assert policy.check(WRITER, sql).reason == ""
