"""Statements that write, as what they aim at and the queries they hold.

DuckDB gives an exact tree of a SELECT only. So a write is cut into its head, of which every token is known
here, and pieces that are put into a SELECT and parsed by DuckDB. What does not fit a form below is `Unclear`.
"""

from __future__ import annotations

from itertools import pairwise

from azquack.wall.errors import Refused, Unclear
from azquack.wall.lexer import Text
from azquack.wall.reader import Reader, Target, target_of
from azquack.wall.write import QUERY_WORDS, Write, bare


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


def explained(text: Text, reserved: frozenset[str]) -> str:
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
    return reader.rest()


def used(text: Text, reserved: frozenset[str]) -> list[str] | None:
    """The parts of the name that a USE takes, or None when `text` is another SET. Raises `Unclear`."""
    reader = Reader(text, reserved)
    if not reader.take("use"):
        return None
    parts = reader.parts()
    return parts if reader.done else None


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


def called(text: Text, reserved: frozenset[str]) -> tuple[str, list[str] | None]:
    """A CALL as the query that reads its function, or the names that a CHECKPOINT takes. Raises `Unclear`."""
    reader = Reader(text, reserved)
    if reader.take("call"):
        return _select("", "SELECT * FROM", reader.rest()), None
    reader.take("force")
    reader.need("checkpoint")
    names = [] if reader.done else reader.parts()
    if not reader.done:
        raise Unclear("the statement cannot be checked: something follows its end")
    return "", names


def _prefix(reader: Reader, *verbs: str) -> str:
    """The WITH clause before one of `verbs`, or nothing."""
    return reader.until(*verbs) if reader.word() == "with" else ""


def _select(prefix: str, *parts: str) -> str:
    # A part may end with a line comment: only a line break ends it.
    return "\n".join((prefix, *parts))


def _returning(reader: Reader, write: Write) -> None:
    if reader.take("returning"):
        write.queries.append(_select("", "SELECT", reader.rest()))
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
        write.queries.append(_select(prefix, reader.until("returning")))
    _returning(reader, write)


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
    write.targets += [target, Target("select", target.catalog, target.schema, target.table)]
    reader.alias()
    reader.need("set")
    write.queries.append(_select(prefix, "SELECT", reader.until("returning")))
    _returning(reader, write)


def _delete(reader: Reader, write: Write) -> None:
    if reader.take("truncate"):
        reader.take("table")
        write.targets.append(reader.name("delete"))
        return _returning(reader, write)
    prefix = _prefix(reader, "delete")
    reader.need("delete", "from")
    first = reader.at
    target = reader.name("delete")
    write.targets += [target, Target("select", target.catalog, target.schema, target.table)]
    reader.alias()
    source = reader.text.slice(first, reader.at)
    using = "," if reader.take("using") else ""
    write.queries.append(_select(prefix, "SELECT 1 FROM", source, using, reader.until("returning")))
    return _returning(reader, write)


def _merge(reader: Reader, write: Write) -> None:
    prefix = _prefix(reader, "merge")
    reader.need("merge", "into")
    first = reader.at
    name = reader.name("select")
    write.targets.append(name)
    reader.alias()
    target = reader.text.slice(first, reader.at)
    reader.need("using")
    write.queries.append(_select(prefix, "SELECT 1 FROM", target, "JOIN", reader.until("when", "returning")))
    while reader.take("when"):
        reader.take("not")
        reader.need("matched")
        if reader.take("by") and not (reader.take("source") or reader.take("target")):
            raise Unclear("the statement cannot be checked: expected SOURCE or TARGET")
        if reader.take("and"):
            write.queries.append(_select("", "SELECT", reader.until("then")))
        reader.need("then")
        privilege = _merge_action(reader, write)
        if privilege:
            write.targets.append(Target(privilege, name.catalog, name.schema, name.table))
    _returning(reader, write)


def _merge_action(reader: Reader, write: Write) -> str | None:
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
        body = reader.until("when", "returning")
        if body.strip():
            values = verb == "insert" and body.lstrip()[:6].lower() == "values"
            write.queries.append(_select("", "" if values else "SELECT", body))
        return verb
    if verb == "delete":
        return verb
    if verb == "do":
        reader.need("nothing")
        return None
    if verb == "error":
        if body := reader.until("when", "returning").strip():
            write.queries.append(_select("", "SELECT", body))
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
    write.targets.append(reader.schema() if what == "schema" else reader.name("create"))
    if what == "schema":
        return bare(reader, write)
    if what in ("macro", "function"):
        write.macro = True
        return _bodies(reader, write)
    place = reader.find("as")
    if place < len(reader.tokens):
        if reader.sign() == "(":
            reader.group()
        bare(reader, write, "as")
        reader.need("as")
        if what == "table" and not reader.drop_end("with", "no", "data"):
            reader.drop_end("with", "data")
        write.queries.append(reader.rest())
        return None
    return bare(reader, write)


def _bodies(reader: Reader, write: Write) -> None:
    """The overloads of a macro, with commas between: parameters, and an expression or TABLE and a query."""
    while True:
        bare(reader, write, "as")
        reader.need("as")
        table = reader.take("table")
        first = reader.at
        # A list of columns is no list of overloads, so only a query in parentheses can be followed by one.
        reader.at = reader.comma(first) if not table or reader.sign() == "(" else len(reader.tokens)
        write.queries.append(_select("", "" if table else "SELECT", reader.text.slice(first, reader.at)))
        if reader.done:
            return
        reader.at += 1


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
    write.targets.append(reader.schema() if what == "schema" else reader.name("create"))
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
        if what == "column":
            write.targets.append(target_of("create", reader.parts()[:-1]))
        else:
            write.targets.append(reader.schema() if what == "schema" else reader.name("create"))
        return bare(reader, write)
    reader.need("alter")
    if not (reader.take("table") or reader.take("view")):
        raise Refused("only ALTER TABLE and ALTER VIEW are allowed")
    reader.take("if", "exists")
    name = reader.name("create")
    write.targets.append(name)
    renames = reader.word() == "rename" and reader.word(1) == "to"
    if renames or (reader.word() == "set" and reader.word(1) == "schema"):
        # The new name is anything in the schema, so the right must reach as far.
        write.targets.append(Target("create", name.catalog, name.schema, "*"))
    bare(reader, write, "using")
    if reader.take("using"):
        write.queries.append(_select("", "SELECT", reader.rest()))
    return None
