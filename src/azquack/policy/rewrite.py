"""Statements that write, as what they aim at and the queries they hold.

DuckDB gives an exact tree of a SELECT only. So a write is cut into its head, of which every token is known
here, and pieces that are put into a SELECT and parsed by DuckDB. What does not fit a form below is `Unclear`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from azquack.policy.errors import Refused, Unclear
from azquack.policy.lexer import Text
from azquack.policy.naming import What
from azquack.policy.piece import Part, Piece
from azquack.policy.reader import Reader, target_of
from azquack.policy.write import QUERY_WORDS, Write, bare

_KINDS: dict[str, What] = {
    "table": "table", "view": "view", "macro": "macro", "function": "macro", "schema": "schema",
}  # fmt: skip


def take_apart(kind: str, text: Text, reserved: frozenset[str]) -> Write:
    """`text` of DuckDB's `kind` as targets and queries; `reserved` are DuckDB's reserved words.

    Raises `Refused`, `Unclear`.
    """
    reader = Reader(text, reserved)
    write = Write()
    match kind:
        case "INSERT":
            _insert(reader, write)
        case "UPDATE":
            _update(reader, write)
        case "DELETE":
            _delete(reader, write)
        case "MERGE_INTO":
            _merge(reader, write)
        case "CREATE":
            _create(reader, write)
        case "DROP":
            _drop(reader, write)
        case "ALTER":
            _alter(reader, write)
        case _:
            raise Refused(f"{kind} is not allowed here")
    return write


def _prefix(reader: Reader, *verbs: str) -> Part:
    """The WITH clause before one of `verbs`, or nothing."""
    return reader.until(*verbs) if reader.word() == "with" else ""


def _add(reader: Reader, write: Write, *parts: Part) -> None:
    write.queries.append(Piece(reader.text, *parts))


def _returning(reader: Reader, write: Write, prefix: Part = "") -> None:
    if reader.take("returning"):
        _add(reader, write, prefix, "SELECT", reader.rest())
    if not reader.done:
        raise Unclear("the statement cannot be checked: something follows its end")


def _insert(reader: Reader, write: Write) -> None:
    prefix = _prefix(reader, "insert")
    reader.need("insert")
    if reader.take("or") and not (reader.take("replace") or reader.take("ignore")):
        raise Unclear("the statement cannot be checked: expected REPLACE or IGNORE")
    reader.need("into")
    write.targets.append(reader.name("insert"))
    if reader.take("as"):
        reader.one()
    _columns(reader)
    if reader.take("by"):
        if not (reader.take("name") or reader.take("position")):
            raise Unclear("the statement cannot be checked: expected NAME or POSITION")
        _columns(reader)
    _refuse_conflict(reader)
    if not reader.take("default", "values"):
        _add(reader, write, prefix, reader.until("returning"))
    _returning(reader, write, prefix)


def _columns(reader: Reader) -> None:
    """Steps over a list of columns, and not over a query in parentheses."""
    if reader.sign() == "(" and reader.word(1) not in QUERY_WORDS and reader.sign(1) != "(":
        reader.group()


def _refuse_conflict(reader: Reader) -> None:
    for place, (token, after) in enumerate(pairwise(reader.tokens)):
        if token.name != "on" or after.name != "conflict" or token.quoted or after.quoted:
            continue
        behind = reader.tokens[place + 2 : place + 3]
        if behind and (behind[0].name in ("do", "on", "where") or behind[0].text[:1] == "("):
            raise Refused("ON CONFLICT is not allowed, as a lake has no keys: use MERGE INTO")


def _update(reader: Reader, write: Write) -> None:
    prefix = _prefix(reader, "update")
    reader.need("update")
    target = reader.name("update")
    write.targets += [target, replace(target, privilege="select")]
    reader.alias()
    reader.need("set")
    _add(reader, write, prefix, "SELECT", reader.until("returning"))
    _returning(reader, write, prefix)


def _delete(reader: Reader, write: Write) -> None:
    if reader.take("truncate"):
        reader.take("table")
        write.targets.append(reader.name("delete"))
        return _returning(reader, write)
    prefix = _prefix(reader, "delete")
    reader.need("delete", "from")
    first = reader.at
    target = reader.name("delete")
    write.targets += [target, replace(target, privilege="select")]
    reader.alias()
    source = first, reader.at
    using = "," if reader.take("using") else ""
    _add(reader, write, prefix, "SELECT 1 FROM", source, using, reader.until("returning"))
    return _returning(reader, write, prefix)


def _merge(reader: Reader, write: Write) -> None:
    prefix = _prefix(reader, "merge")
    reader.need("merge", "into")
    first = reader.at
    name = reader.name("select")
    write.targets.append(name)
    reader.alias()
    target = first, reader.at
    reader.need("using")
    _add(reader, write, prefix, "SELECT 1 FROM", target, "JOIN", reader.until("when", "returning"))
    while reader.take("when"):
        reader.take("not")
        reader.need("matched")
        if reader.take("by") and not (reader.take("source") or reader.take("target")):
            raise Unclear("the statement cannot be checked: expected SOURCE or TARGET")
        if reader.take("and"):
            _add(reader, write, prefix, "SELECT", reader.until("then"))
        reader.need("then")
        privilege = _merge_action(reader, write, prefix)
        if privilege:
            write.targets.append(replace(name, privilege=privilege))
    _returning(reader, write, prefix)


def _merge_action(reader: Reader, write: Write, prefix: Part) -> str | None:
    verb = reader.word()
    reader.at += 1
    if verb in ("update", "insert"):
        if verb == "update":
            reader.take("set")
        if reader.take("by") and not (reader.take("name") or reader.take("position")):
            raise Unclear("the statement cannot be checked: expected NAME or POSITION")
        if verb == "insert" and reader.sign() == "(":
            reader.group()
        if verb == "insert" and reader.take("default", "values"):
            return verb
        if reader.sign() == "*":
            reader.at += 1
        values = verb == "insert" and reader.word() == "values"
        body = reader.until("when", "returning")
        if body[0] < body[1]:
            _add(reader, write, prefix, "" if values else "SELECT", body)
        return verb
    if verb == "delete":
        return verb
    if verb == "do":
        reader.need("nothing")
        return None
    if verb == "error":
        body = reader.until("when", "returning")
        if body[0] < body[1]:
            _add(reader, write, prefix, "SELECT", body)
        return None
    raise Unclear("the statement cannot be checked: expected UPDATE, INSERT, DELETE, DO NOTHING or ERROR")


def _create(reader: Reader, write: Write) -> None:
    reader.need("create")
    reader.take("or", "replace")
    write.temporary = reader.take("temp") or reader.take("temporary")
    what = reader.word()
    if what not in ("table", "view", "macro", "function", "schema"):
        raise Refused(
            f"CREATE {(what or '?').upper()} is not allowed: a lake holds tables, views, macros and schemas"
        )
    reader.at += 1
    reader.take("if", "not", "exists")
    kind = _KINDS[what]
    made = reader.schema(makes=True) if what == "schema" else reader.name("create", kind, makes=True)
    write.targets.append(made)
    if what == "schema":
        return bare(reader, write)
    if kind == "macro":
        write.macro = True
        return _bodies(reader, write)
    if kind == "view":
        write.view = made
    place = reader.find("as")
    if place < len(reader.tokens):
        if reader.sign() == "(":
            reader.group()
        bare(reader, write, "as")
        reader.need("as")
        write.body = reader.at
        if what == "table" and not reader.drop_end("with", "no", "data"):
            reader.drop_end("with", "data")
        _add(reader, write, reader.rest())
        return None
    return bare(reader, write)


def _bodies(reader: Reader, write: Write) -> None:
    """The overloads of a macro, with commas between: parameters, and an expression or TABLE and a query."""
    while True:
        _parameters(reader, write)
        bare(reader, write, "as")
        reader.need("as")
        table = reader.take("table")
        first, end = reader.at, len(reader.tokens)
        # A list of columns is no list of overloads, so only a query in parentheses can be followed by one.
        reader.at = reader.comma(first, end) if not table or reader.sign() == "(" else end
        _add(reader, write, "" if table else "SELECT", (first, reader.at))
        if reader.done:
            return
        reader.at += 1


def _parameters(reader: Reader, write: Write) -> None:
    """The values that parameters of a macro have by default, as queries; steps over nothing."""
    at, end = reader.at, reader.find("as")
    reader.at += 1
    while reader.at < end:
        token = reader.tokens[reader.at]
        if token.text[:1] == ":" or token.name == "default":
            first = reader.at + 1
            reader.at = reader.comma(first, end)
            _add(reader, write, "SELECT (", (first, reader.at), ")")
        reader.at += 1
    reader.at = at


def _drop(reader: Reader, write: Write) -> None:
    if reader.word() == "deallocate":
        raise Refused("DEALLOCATE is not allowed, nor is PREPARE")
    reader.need("drop")
    what = reader.word()
    if what not in ("table", "view", "macro", "function", "schema"):
        raise Refused(f"{'DROP ' + what.upper() if what else 'this DROP'} is not allowed")
    reader.at += 1
    if what in ("macro", "function"):
        reader.take("table")
    reader.take("if", "exists")
    # DuckDB drops one object at a time.
    dropped = reader.schema() if what == "schema" else reader.name("create", _KINDS[what])
    write.targets.append(dropped)
    write.drops = True
    if not (reader.take("cascade") or reader.take("restrict") or reader.done):
        raise Unclear("the statement cannot be checked: something follows its end")


def _alter(reader: Reader, write: Write) -> None:
    if reader.take("comment", "on"):
        what = reader.word()
        if what not in ("table", "view", "column", "macro", "function", "schema"):
            raise Refused(f"COMMENT ON {(what or '?').upper()} is not allowed")
        reader.at += 1
        if what in ("macro", "function"):
            reader.take("table")
        first = reader.at
        if what == "column":
            write.targets.append(target_of("create", reader.parts()[:-1], first))
        elif what == "schema":
            write.targets.append(reader.schema())
        else:
            write.targets.append(reader.name("create", _KINDS[what]))
        return bare(reader, write)
    reader.need("alter")
    what = reader.word()
    if what not in ("table", "view"):
        raise Refused("only ALTER TABLE and ALTER VIEW are allowed")
    reader.at += 1
    reader.take("if", "exists")
    name = reader.name("create", _KINDS[what])
    write.targets.append(name)
    renames = reader.word() == "rename" and reader.word(1) == "to"
    if renames or (reader.word() == "set" and reader.word(1) == "schema"):
        # The new name is anything in the schema, so the right must reach as far.
        write.everywhere = name
    if renames:
        write.named.append((name.what, reader.peek(2)))
    elif reader.word() == "rename":
        write.named.append(("column", reader.peek(reader.find("to") + 1 - reader.at)))
    elif reader.word() == "add":
        write.named.append(("column", _added(reader)))
    bare(reader, write, "using")
    if reader.take("using"):
        _add(reader, write, "SELECT", reader.rest())
    return None


def _added(reader: Reader) -> str:
    """The name of the column, or of the field of one, that ADD adds; steps over nothing."""
    place = 1 + (reader.word(1) == "column")
    place += 3 * (reader.word(place) == "if" and reader.word(place + 1) == "not")
    while reader.sign(place + 1) == ".":
        place += 2
    return reader.peek(place)
