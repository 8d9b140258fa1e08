"""The parameters of a deployment: any value that a user may set reaches Azure as it is, or is refused in a sentence."""

from __future__ import annotations

import csv
import subprocess
from typing import Any

import pytest

from tests.infra import compiler, parameters
from tests.infra.conftest import INFRA, ROOT

FILES = {name: INFRA / f"{name}.bicepparam" for name in compiler.TEMPLATES}
CHOICES = list(csv.DictReader((INFRA / "choices.csv").read_text(encoding="utf-8").splitlines()))
NEEDED = {"AZURE_ENV_NAME": "mylake", "AZURE_LOCATION": "westeurope"}
# What a shell, JSON or a template could trip over.
ODD = [
    '{"principals": []}',
    "'",
    '"',
    "\\",
    "${HOME}",
    "$x",
    "a\nb",
    "{{",
    "[x]",
    "[",
    "ü",
    " ",
    "%24",
    "`id`",
    "$(id)",
]


def refused(values: list[str], kind: str) -> list[str]:
    """Those of `values` with which the shell hooks find a problem, for a choice of `kind`."""
    script = (
        f'root={ROOT}; . "$root/scripts/lib.sh"; . "$root/scripts/deployment.sh"; kind=$1; shift\n'
        'for each in "$@"; do [ -z "$(problem_with NAME "$kind" "$each")" ] || printf "%s\\0" "$each"; done'
    )
    done = subprocess.run(
        ["sh", "-c", script, "hook", kind, *values], text=True, capture_output=True, check=True
    )
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_text_reaches_azure_as_it_is(name: str, value: str) -> None:
    texts = {
        each
        for each in parameters.variables(FILES[name])
        if each.startswith(("LAKE_NEW", "AZURE", "SERVICE"))
    }
    given = parameters.evaluate(FILES[name], dict.fromkeys(texts, value))
    assert value in given.values()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_variable_that_is_empty_counts_as_not_set(name: str) -> None:
    unset = parameters.evaluate(FILES[name], NEEDED)
    empty = dict.fromkeys(parameters.variables(FILES[name]), "")
    assert parameters.evaluate(FILES[name], empty | NEEDED) == unset


def test_the_defaults_are_those_of_the_table_and_of_the_templates() -> None:
    table = {each["name"]: each["default"] for each in CHOICES if each["default"]}
    given = parameters.defaults(FILES["main"]) | parameters.defaults(FILES["azquack"])
    assert given == table
    for name, path in FILES.items():
        declared = compiler.template(name)["parameters"]
        for parameter, value in parameters.evaluate(path, NEEDED).items():
            default = declared[parameter].get("defaultValue", value)
            # The region's default is an expression: the group's.
            assert default == value or str(default).startswith("["), parameter


def test_every_choice_is_read_and_none_is_missing_from_the_table() -> None:
    read = set().union(*map(parameters.variables, FILES.values()))
    chosen = {name for name in read if name.startswith("LAKE_") and not name.startswith("LAKE_NEW_")}
    assert chosen == {each["name"] for each in CHOICES}


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_file_gives_every_parameter(name: str) -> None:
    assert set(parameters.evaluate(FILES[name], NEEDED)) == set(compiler.template(name)["parameters"])


BOOLEANS = ["true", "false", "TRUE", "False"]
NUMBERS = ["1", "7", "007", "365"]
WRONG = {
    "boolean": ["yes", "1", "true ", " false", "tru", "ja", *ODD],
    "1-365": ["0", "366", "400", "7 ", "-1", "1.5", "1e2", "seven", "99999999999999999999", *ODD],
    "User|Group|ServicePrincipal": ["user", "User|Group", "Users", *ODD],
    "addresses": ["office", "1.2.3.4/33", "1.2.3.4, 5.6.7.8", ",", *ODD],
    "address": ["a", "a b@c", "a@b@c", "@", *ODD],
}
RIGHT = {
    "boolean": BOOLEANS,
    "1-365": NUMBERS,
    "User|Group|ServicePrincipal": ["User", "Group", "ServicePrincipal"],
    "addresses": ["203.0.113.7", "203.0.113.0/24,198.51.100.7"],
    "address": ["a@b.example", "on+call@example.org"],
}


@pytest.mark.parametrize("kind", sorted(RIGHT))
def test_the_hook_refuses_what_cannot_be_and_nothing_else(kind: str) -> None:
    assert refused(RIGHT[kind], kind) == []
    assert refused(WRONG[kind], kind) == WRONG[kind]


def test_what_the_hook_lets_through_the_templates_allow() -> None:
    for each in CHOICES:
        path = FILES["main" if each["part"] == "ground" else "azquack"]
        (parameter,) = [
            name
            for name, value in parameters.evaluate(path, NEEDED | {each["name"]: _example(each)}).items()
            if value != parameters.evaluate(path, NEEDED)[name]
        ]
        declared = compiler.template(path.stem)["parameters"][parameter]
        if "-" in each["values"]:
            low, high = each["values"].split("-")
            assert (declared["minValue"], declared["maxValue"]) == (int(low), int(high)), each["name"]


def _example(choice: dict[str, str]) -> str:
    match choice["values"]:
        case "boolean":
            return "true"
        case "addresses" | "address" | "text":
            return "text"
        case listed if "|" in listed:
            return listed.split("|")[-1]
        case bounds:
            return bounds.split("-")[1]


needs_compiler = pytest.mark.skipif(
    compiler.find() is None, reason="no Bicep compiler: the rules here are held against none"
)


@pytest.mark.slow
@needs_compiler
def test_the_compiler_gives_the_same_parameters() -> None:
    program = compiler.Compiler(str(compiler.find()))
    cases: list[dict[str, str]] = [
        {},
        dict.fromkeys(set().union(*map(parameters.variables, FILES.values())), "") | NEEDED,
        {each["name"]: _example(each) for each in CHOICES},
        {"LAKE_NEW_PRINCIPALS": "".join(ODD), "LAKE_PRIVATE_NETWORK": "TRUE", "LAKE_QUERY_NODES": "3"},
        {"LAKE_OPERATOR_ID": "", "AZURE_PRINCIPAL_ID": "somebody"},
        {"LAKE_SOFT_DELETE_DAYS": "007", "LAKE_LOG_RETENTION_DAYS": "400"},
    ]
    for path in FILES.values():
        for case in cases:
            given = NEEDED | case
            assert program.parameters(path, given) == parameters.evaluate(path, given), (path.name, case)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    "case",
    [{"LAKE_PRIVATE_NETWORK": "yes"}, {"LAKE_SOFT_DELETE_DAYS": "seven"}, {"AZURE_LOCATION": None}],
    ids=str,
)
def test_the_compiler_stops_where_the_rules_say(case: dict[str, Any]) -> None:
    given = {name: value for name, value in (NEEDED | case).items() if value is not None}
    with pytest.raises(parameters.ParameterError):
        parameters.evaluate(FILES["main"], given)
    with pytest.raises(subprocess.CalledProcessError):
        compiler.Compiler(str(compiler.find())).parameters(FILES["main"], given)


def test_no_parameter_file_of_the_old_kind_is_left() -> None:
    assert list(INFRA.glob("*.parameters.json")) == []
