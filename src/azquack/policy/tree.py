"""What a query uses, read off DuckDB's own tree of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from azquack.policy.errors import Unclear
from azquack.principals.principal import folded

# Every class and type of node that was reviewed; another one may hide something.
# fmt: off
_CLASSES = frozenset({
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "DEFAULT",
    "FUNCTION", "LAMBDA", "LAMBDA_REF", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY",
    "TYPE", "WINDOW",
})
_SOURCES = frozenset({
    "BASE_TABLE", "COLUMN_DATA", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY",
    "TABLE_FUNCTION",
})
# fmt: on
# Of a node that DuckDB made up itself.
NOWHERE = (1 << 64) - 1
_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it stands in the query, folded; missing parts are empty."""

    catalog: str
    schema: str
    table: str

    @property
    def parts(self) -> list[str]:
        """Those that are there."""
        return [part for part in (self.catalog, self.schema, self.table) if part]


Place = tuple[Name, int]


@dataclass(slots=True)
class Uses:
    """Tables, views and functions that a query names, each with the offset in bytes at which it stands there.

    Names of the query's own CTEs are left out of `tables`, which also say whether a past version is read. `shows`
    counts the SHOW and DESCRIBE that describe nothing, but list; `named` has the places of sources with an alias.
    """

    tables: set[tuple[Name, int, bool]] = field(default_factory=set)
    functions: set[Place] = field(default_factory=set)
    table_functions: set[Place] = field(default_factory=set)
    shows: int = 0
    named: set[int] = field(default_factory=set)


def uses(tree: dict[str, Any]) -> Uses:
    """What the query `tree` uses. Raises `Unclear` for a node that nobody reviewed."""
    found = Uses()
    # A stack of our own: the depth of a statement must not become the depth of our calls.
    todo: list[_Scoped] = [(tree, frozenset())]
    while todo:
        node, ctes = todo.pop()
        if isinstance(node, list):
            todo += [(child, ctes) for child in node if isinstance(child, dict | list)]
        elif "cte_map" in node:
            todo += _query(node, ctes)
        else:
            todo += [(child, ctes) for child in _named(node, ctes, found) if isinstance(child, dict | list)]
    return found


def is_constant(tree: dict[str, Any]) -> bool:
    """Whether the query `tree` is a SELECT of one constant, which may be cast, and of nothing else."""
    (node,) = tree["select_list"] if len(tree["select_list"]) == 1 else (tree,)
    while node.get("class") == "CAST":
        node = node["child"]
    return bool(node.get("class") == "CONSTANT")


# A part of the tree, and the names of the WITH clauses that DuckDB sees there.
_Scoped = tuple[dict[str, Any] | list[Any], frozenset[str]]


def _query(node: dict[str, Any], ctes: frozenset[str]) -> list[_Scoped]:
    """The parts of a query node, each with what it sees."""
    if node["type"] not in _NODES:
        raise Unclear(f"the policy does not know {node['type']}")
    parts: list[_Scoped] = []
    inner = dict(node)
    # A CTE sees the ones before it and not itself, but what that name means further out: `WITH t AS (FROM t) …` reads
    # the table t, and within a query that has another clause t, that one.
    for entry in inner.pop("cte_map")["map"]:
        parts.append((entry["value"], ctes))
        ctes |= {folded(str(entry["key"]))}
    if node["type"] == "RECURSIVE_CTE_NODE":
        parts.append((inner.pop("right"), ctes | {folded(node["cte_name"])}))
    elif node["type"] == "CTE_NODE":
        parts.append((inner.pop("query"), ctes))
        ctes |= {folded(node["cte_name"])}
    return [*parts, *((child, ctes) for child in inner.values() if isinstance(child, dict | list))]


def _named(node: dict[str, Any], ctes: frozenset[str], found: Uses) -> list[Any]:
    """Notes what an expression or a FROM item names; gives what lies below it."""
    if "class" in node:
        if node["class"] not in _CLASSES:
            raise Unclear(f"the policy does not know {node['class']}")
        if "function_name" in node:
            found.functions.add((_name(node, "function_name"), node.get("query_location", NOWHERE)))
        return list(node.values())
    if "sample" in node and "query_location" in node:
        kind = node["type"]
        if kind not in _SOURCES:
            raise Unclear(f"the policy does not know {kind}")
        if kind == "TABLE_FUNCTION":
            called = node["function"]
            if node["alias"]:
                found.named.add(called.get("query_location", NOWHERE))
            found.table_functions.add((_name(called, "function_name"), called.get("query_location", NOWHERE)))
            return [*called.values(), *(value for key, value in node.items() if key != "function")]
        if kind == "SHOW_REF":
            found.shows += node["query"] is None
        elif kind == "BASE_TABLE":
            name = _name(node, "table_name")
            if node["alias"]:
                found.named.add(node["query_location"])
            # A recursive CTE reads all that it has made so far by this schema.
            recurring = name.schema == "recurring" and not name.catalog
            if not (name.table in ctes and (recurring or not (name.catalog or name.schema))):
                found.tables.add((name, node["query_location"], node.get("at_clause") is not None))
    elif "table_name" in node or "function_name" in node:
        raise Unclear("the policy does not know a part of the statement")
    return list(node.values())


def _name(node: dict[str, Any], key: str) -> Name:
    catalog, schema = ("catalog", "schema") if key == "function_name" else ("catalog_name", "schema_name")
    return Name(folded(node[catalog]), folded(node[schema]), folded(node[key]))
