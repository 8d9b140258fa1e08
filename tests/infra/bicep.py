"""Bicep as data: a file's declarations, and its resources in the shape that ARM's schemas describe.

There is no Bicep compiler among the packages that a test may install, so `tree-sitter-bicep` parses and this
module reads the tree. An expression becomes the text `[…]`, as in a compiled template; variables, `concat`,
loops and ternaries over objects are followed, so that the schema sees the objects in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

NAMESPACES = {"az", "sys"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `param`: its type, whether it has a default, and its decorators by name."""

    name: str
    type: str
    default: Node | None
    decorators: dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Resource:
    """One `resource`: `type` and `api` from its type string, `body` in ARM's shape."""

    symbol: str
    type: str
    api: str
    existing: bool
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Module:
    """One `module`: the file that it calls and the parameters that it gives."""

    symbol: str
    path: str
    params: dict[str, Any]


@dataclass(slots=True)
class File:
    """One Bicep file. `errors` holds (line, text) of everything that did not parse."""

    path: Path
    scope: str = "resourceGroup"
    metadata: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Node] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    outputs: dict[str, Parameter] = field(default_factory=dict)
    loop_variables: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    references: set[tuple[str, str]] = field(default_factory=set)
    errors: list[tuple[int, str]] = field(default_factory=list)

    @property
    def declared(self) -> set[str]:
        """Every symbol that an expression may name."""
        symbols = {*self.parameters, *self.variables, *self.resources, *self.modules}
        return symbols | self.loop_variables | NAMESPACES


def read(path: Path) -> File:
    """The file at `path`. Never raises for what stands in it: see `File.errors`."""
    root = Parser(Language(tree_sitter_bicep.language())).parse(path.read_bytes()).root_node
    file = File(path)
    file.errors = [
        (node.start_point[0] + 1, _text(node)[:60])
        for node in _walk(root)
        if node.type == "ERROR" or node.is_missing
    ]
    # Variables first: a resource may use one that is declared further down.
    for node in root.named_children:
        if node.type == "variable_declaration":
            name, value = node.named_children[0], node.named_children[-1]
            file.variables[_text(name)] = value
    decorators: dict[str, list[Any]] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = dict(_decorator(each, file) for each in node.named_children)
            continue
        if node.type not in ("comment", "diagnostic_comment"):
            _declare(node, decorators, file)
            decorators = {}
    _collect_uses(root, file)
    return file


def variable(file: File, name: str) -> Any:
    """The variable `name` of `file`, in ARM's shape."""
    return _arm(file.variables[name], file)


def _declare(node: Node, decorators: dict[str, list[Any]], file: File) -> None:
    parts = [part for part in node.named_children if part.type not in ("comment", "diagnostic_comment")]
    match node.type:
        case "target_scope_assignment":
            file.scope = _arm(parts[0], file)
        case "metadata_declaration":
            file.metadata[_text(parts[0])] = _arm(parts[1], file)
        case "parameter_declaration" | "output_declaration":
            name = _text(parts[0])
            default = parts[2] if len(parts) > 2 else None
            into = file.parameters if node.type == "parameter_declaration" else file.outputs
            into[name] = Parameter(name, _text(parts[1]), default, decorators)
        case "resource_declaration":
            kind, _, api = _arm(parts[1], file).partition("@")
            existing = any(child.type == "existing" for child in node.children)
            symbol = _text(parts[0])
            file.resources[symbol] = Resource(symbol, kind, api, existing, _body(parts[2:], file))
        case "module_declaration":
            body = _body(parts[2:], file)
            symbol = _text(parts[0])
            file.modules[symbol] = Module(symbol, _arm(parts[1], file), body.get("params", {}))


def _body(parts: list[Node], file: File) -> dict[str, Any]:
    """The object of a declaration, whether bare, behind `if (…)` or in a `for`."""
    for part in parts:
        for node in _walk(part):
            if node.type == "object":
                value: dict[str, Any] = _arm(node, file)
                return value
    return {}


def _arm(node: Node, file: File, following: frozenset[str] = frozenset()) -> Any:
    """`node` as ARM's JSON; what only a deployment knows becomes `[expression]`."""
    match node.type:
        case "parenthesized_expression":
            return _arm(node.named_children[0], file, following)
        case "string" if not any(child.type == "interpolation" for child in node.named_children):
            return _text(node)[1:-1].replace("\\'", "'").replace("\\n", "\n").replace("\\\\", "\\")
        case "number":
            return int(_text(node))
        case "boolean":
            return _text(node) == "true"
        case "null":
            return None
        case "array":
            return [_arm(child, file, following) for child in node.named_children if child.type != "comment"]
        case "object":
            return {
                _key(child.named_children[0]): _arm(child.named_children[-1], file, following)
                for child in node.named_children
                if child.type == "object_property"
            }
        case "for_statement":
            body = node.child_by_field_name("body")
            assert body is not None, f"{file.path}: a loop without a body"
            return [_arm(body, file, following)]
        case "identifier" if _text(node) in file.variables and _text(node) not in following:
            value = _arm(file.variables[_text(node)], file, following | {_text(node)})
            return value if isinstance(value, dict | list) else f"[{_text(node)}]"
        case "ternary_expression":
            return _branches(node, file, following)
        case "call_expression":
            return _concatenated(node, file, following)
    return f"[{_text(node)}]"


def _branches(node: Node, file: File, following: frozenset[str]) -> Any:
    """Both branches of a ternary where they are lists, the one with the object where there is one."""
    branches = [node.child_by_field_name("consequence"), node.child_by_field_name("alternative")]
    values = [_arm(branch, file, following) for branch in branches if branch is not None]
    if all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    return next((value for value in values if isinstance(value, dict)), f"[{_text(node)}]")


def _concatenated(node: Node, file: File, following: frozenset[str]) -> Any:
    """What is known of a `concat(…)`; any other call is an expression."""
    function, arguments = node.named_children[0], node.named_children[-1]
    if _text(function) != "concat":
        return f"[{_text(node)}]"
    values = [_arm(argument, file, following) for argument in arguments.named_children]
    return [item for value in values if isinstance(value, list) for item in value]


def _collect_uses(root: Node, file: File) -> None:
    """Fills `used` (identifiers read), `references` (module symbol, output) and `loop_variables`."""
    for node in _walk(root):
        if node.type in ("loop_variable", "loop_enumerator"):
            file.loop_variables.add(_text(node))
        if node.type == "for_statement" and (single := node.child_by_field_name("initializer")):
            file.loop_variables.add(_text(single))
        if node.type == "member_expression":
            inner, name = node.named_children[0], node.named_children[-1]
            if inner.type == "member_expression" and _text(inner.named_children[-1]) == "outputs":
                file.references.add((_text(inner.named_children[0]), _text(name)))
        if node.type == "identifier" and not _names_something(node):
            file.used.add(_text(node))


def _names_something(node: Node) -> bool:
    """Whether an identifier declares, keys or calls, rather than reads."""
    parent = node.parent
    if parent is None:
        return True
    first = parent.named_children[0] == node
    declaration = parent.type.endswith("_declaration") or parent.type == "object_property"
    return (declaration and first) or (
        parent.type == "call_expression" and parent.child_by_field_name("function") == node
    )


def _decorator(node: Node, file: File) -> tuple[str, list[Any]]:
    call = node.named_children[0]
    function, arguments = call.named_children[0], call.named_children[-1]
    return _text(function), [_arm(argument, file) for argument in arguments.named_children]


def _key(node: Node) -> str:
    return _text(node).strip("'")


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)
