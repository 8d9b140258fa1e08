"""The rooms of the source: each imports from rooms below it, as `docs/architecture.md` says, and none in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import azquack

SOURCE = Path(azquack.__path__[0])
DOCS = Path(__file__).parent.parent / "docs" / "architecture.md"
GROUND = frozenset({"errors", "sql", "patterns"})
ROOMS: dict[str, frozenset[str]] = {
    "process": frozenset({"errors"}),
    "config": frozenset({"errors", "sql"}),
    "tokens": frozenset({"config", "errors"}),
    "quack": frozenset({"errors"}),
    "http": frozenset({"errors", "quack"}),
    "principals": frozenset({"config", "errors", "tokens"}),
    "policy": frozenset({"patterns", "principals", "sql"}),
    "lake": frozenset({"config", "errors", "process", "sql", "tokens"}),
    "storage": frozenset({"config", "errors", "lake", "sql"}),
    "catalog": GROUND | {"config", "http", "lake", "policy", "process", "quack", "storage"},
    "node": frozenset({"catalog", "errors", "lake", "process", "quack", "sql"}),
    "gateway": GROUND | {"config", "http", "node.address", "policy", "principals", "process", "quack"},
}
ROOMS["gateway.quack"] = ROOMS["gateway"] | {"gateway"}
ROOMS["gateway.flight"] = ROOMS["gateway"] | {"gateway"}
ROOMS["replicas"] = GROUND | frozenset(ROOMS)
ROOMS["cli"] = GROUND | frozenset(ROOMS) - {
    "gateway",
    "gateway.flight",
    "gateway.quack",
    "http",
    "policy",
    "quack",
}


@cache
def modules() -> dict[str, Path]:
    """Every module by its name below `azquack`."""
    found = {}
    for file in SOURCE.rglob("*.py"):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(name: str) -> Iterator[str]:
    """The modules that module `name` imports, also late ones and those for types alone."""
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name[8:] for each in node.names if each.name.startswith("azquack."))
        elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("azquack."):
            base = (node.module or "")[8:]
            for each in node.names:
                full = f"{base}.{each.name}".lstrip(".")
                yield full if full in modules() else base


def room(name: str) -> str:
    """The room of module `name`."""
    inner = ".".join(name.split(".")[:2])
    return inner if inner in ROOMS else name.split(".")[0]


@pytest.mark.parametrize("name", sorted(name for name in modules() if "." in name))
def test_a_module_imports_only_from_the_rooms_below_its_own(name: str) -> None:
    below = ROOMS[room(name)]
    for each in imported(name):
        assert room(each) == room(name) or room(each) in below or each in below, f"{name} imports {each}"


def test_the_ground_imports_nothing_of_ours() -> None:
    for name in GROUND:
        assert not list(imported(name))


def test_no_import_leads_back() -> None:
    """Also within a room; what is imported for types alone, or late, is no exception."""
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' > '.join((*way, name))}"
        if name not in done:
            for each in imported(name):
                if each in modules() and each != name:
                    walk(each, (*way, name))
            done.add(name)

    for name in modules():
        walk(name, ())


def test_every_room_is_in_the_architecture() -> None:
    told = set(re.findall(r"^\| `([a-z/]+)/` \|", DOCS.read_text(), re.MULTILINE))
    assert {each.replace("/", ".") for each in told} == set(ROOMS)


def test_what_the_glossary_names_is_there() -> None:
    glossary = DOCS.with_name("glossary.md").read_text()
    named = re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", glossary)
    assert len(named) > 20
    for each in named:
        assert (SOURCE / each).exists(), f"docs/glossary.md names {each}"
