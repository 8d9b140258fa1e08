"""Every form of a statement that DuckDB parses is allowed, or refused for a reason that names the rule.

The forms stand in a grammar of our own, `forms.toml`, after the syntax diagrams of DuckDB's documentation
(https://duckdb.org/docs/stable/sql/introduction). `AZQUACK_TEST_CORPUS` names directories (with `:` between) of
sqllogictest files, such as the `test` directories of DuckDB and DuckLake: their statements are held to the same.
"""

from __future__ import annotations

import os
import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from azquack.policy.policy import Policy
from azquack.principals import Principal, Role

ADMIN = Principal("eve", Role.ADMIN, "f")
ROUNDS = int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "20000"))
CORPUS = os.environ.get("AZQUACK_TEST_CORPUS", "")
# What the policy says when it has not understood: never for what DuckDB parses.
NOT_UNDERSTOOD = re.compile(r"cannot be (?:checked|split)|does not know|belong there")

GRAMMAR: dict[str, str] = tomllib.loads(Path(__file__).with_name("forms.toml").read_text())


def expanded(rule: str, dice: random.Random, depth: int = 0) -> str:
    """A text of `rule`, drawn with `dice`; deep down the first alternative that holds no further rule."""
    choices = split(rule, "|")
    plain = [each for each in choices if "<" not in each]
    chosen = dice.choice(plain if depth > 4 and plain else choices).strip()
    text = re.sub(
        r"\[([^\[\]]*+)\](?![^']*'[^']*$)",
        lambda found: part(found, dice, depth),
        chosen,
    )
    return re.sub(r"<(\w+)>", lambda found: expanded(GRAMMAR[found[1]], dice, depth + 1), text)


def part(found: re.Match[str], dice: random.Random, depth: int) -> str:
    """What stands in brackets: SQL's own brackets touch what is before them or hold no word."""
    if (
        re.fullmatch(r"[\d,: ]*|x for .*|'a'", found[1])
        or found.string[found.start() - 1 : found.start()].isalnum()
    ):
        return found[0]
    return expanded(found[1], dice, depth + 1) if dice.random() < 0.5 else ""


def split(rule: str, sign: str) -> list[str]:
    """`rule` at each `sign` that stands in no brackets."""
    parts, level = [""], 0
    for each in rule:
        level += (each in "[({") - (each in "])}")
        if each == sign and level == 0:
            parts.append("")
        else:
            parts[-1] += each
    return parts


def judged(policy: Policy, sql: str) -> str:
    """`unparsed`, `allowed`, `refused`, or the sentence that says the policy has not understood."""
    try:
        duckdb.extract_statements(sql)
    except duckdb.Error:
        return "unparsed"
    verdict = policy.check(ADMIN, sql)
    if verdict.allowed:
        return "allowed"
    return f"{verdict.reason}: {sql}" if NOT_UNDERSTOOD.search(verdict.reason) else "refused"


@pytest.fixture(scope="module")
def policy() -> Iterator[Policy]:
    made = Policy()
    yield made
    made.close()


def assert_understood(counts: Counter[str], *, parsed: float) -> None:
    known = {name: counts.pop(name, 0) for name in ("allowed", "refused", "unparsed")}
    print(known, f"not understood: {sum(counts.values())}")
    assert not counts, "\n".join(counts)
    assert known["unparsed"] <= (1 - parsed) * sum(known.values())
    assert known["allowed"]
    assert known["refused"]


def test_every_alternative_of_every_form_is_understood(policy: Policy) -> None:
    dice = random.Random(1)
    counts: Counter[str] = Counter()
    for name, rule in GRAMMAR.items():
        if name in ("statement", "with", "set", "table", "columns", "e", "from", "query", "change", "when"):
            continue
        for each in split(rule, "|"):
            counts.update(judged(policy, expanded(each, dice)) for _ in range(3))
    for each in split(GRAMMAR["change"], "|"):
        counts[judged(policy, "alter table t " + expanded(each, dice))] += 1
    for each in split(GRAMMAR["when"], "|"):
        counts[judged(policy, "merge into t x using u y on (x.a = y.a) " + expanded(each, dice))] += 1
    assert_understood(counts, parsed=0.8)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_any_statement_of_the_grammar_is_understood(policy: Policy) -> None:
    dice = random.Random(int(os.environ.get("AZQUACK_TEST_SEED", "0")) or None)
    counts = Counter(judged(policy, expanded("<statement>", dice)) for _ in range(ROUNDS))
    assert_understood(counts, parsed=0.7)


def statements_of(file: Path) -> Iterator[str]:
    """The statements of a sqllogictest file, without those that hold variables of its loops."""
    lines: list[str] | None = None
    for line in [*file.read_text(errors="replace").splitlines(), ""]:
        if lines is not None and (not line.strip() or line.startswith("----")):
            sql = "\n".join(lines)
            if sql and not re.search(r"[$]?\{\w+\}", sql):
                yield sql
            lines = None
        elif lines is not None and not line.startswith("#"):
            lines.append(line)
        if re.match(r"(?:statement|query)\b", line):
            lines = []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not CORPUS, reason="AZQUACK_TEST_CORPUS names no directory of sqllogictest files")
def test_statements_of_other_suites_are_understood(policy: Policy) -> None:
    files = [
        file for each in CORPUS.split(":") for file in sorted(Path(each).rglob("*.test*")) if file.is_file()
    ]
    assert files, f"no sqllogictest files in {CORPUS}"
    seen = {sql for file in files for sql in statements_of(file)}
    assert_understood(Counter(judged(policy, sql) for sql in sorted(seen)), parsed=0.9)


@pytest.mark.parametrize(
    "sql", ["selec 1", "select 'a", "select 1 from\n\n t where ((", "alter table t frob", "\u00a0selec"]
)
def test_a_text_that_duckdb_cannot_parse_comes_back_in_duckdbs_own_words(policy: Policy, sql: str) -> None:
    with pytest.raises(duckdb.ParserException) as raised:
        duckdb.extract_statements(sql)
    assert f"Parser Error: {policy.check(ADMIN, sql).reason}" == str(raised.value)
