"""The grammar as it stands in `ducklake.grammar`, made into matchers.

What is regular in a form becomes one regular expression; only lists that may be long, and what nests, is walked. Every
quantifier is possessive: a text is read once, from left to right, and never again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from azquack.catalog.policy.values import NESTING, ROWS
from azquack.patterns import re

Matcher = Callable[[str, int], int]
"""Takes a text and a place in it; the place behind what matched, or -1."""

# A text is told from others by its first characters that are no blanks: so many of them, among so many in all.
SIGNS = 48
HEAD = 200
_BLANK = "[ \\t\\n]"
_CONSTRUCT = re.compile(r"\[\[|\]\]|<(?P<rule>[A-Za-z'][^<>]*)>")
_LEXEME = re.compile(r"""\s+|"[^"]*"|'[^']*'|\w+|.""", re.DOTALL)
_LIST = re.compile(r"(?P<item>.*?)(?P<how>[,*&]) ?\.\.\.")
_JOINS = {",": rf"{_BLANK}*+,{_BLANK}*+", "*": f"{_BLANK}*+", "&": rf"{_BLANK}*+AND{_BLANK}++"}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a form: `regex` when it is regular, else `matcher`."""

    regex: str = ""
    matcher: Matcher | None = None


class Form:
    """A statement, as a template; `head` is how it begins, without blanks. Its matcher is made at its first use."""

    def __init__(self, rules: Rules, template: str) -> None:
        self._rules = rules
        self._template = template
        self._matcher: Matcher | None = None
        start = _CONSTRUCT.search(template)
        self.head = head_of(template[: start.start() if start else None])[:SIGNS]

    def match(self, text: str, at: int) -> int:
        """The place behind the statement that begins at `at`, after blanks; or -1."""
        if self._matcher is None:
            self._matcher = self._rules.form(self._template)
        return self._matcher(text, at)


def head_of(text: str) -> str:
    """The first characters of `text` that are no blanks."""
    return "".join(text[:HEAD].split())


@dataclass(frozen=True, slots=True)
class Step:
    """A place in a commit: its forms, whether it may come `often`, whether it `must` come."""

    forms: tuple[Form, ...]
    often: bool = False
    must: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """The forms of single statements by section, and the `steps` of a commit and of a new lake."""

    sections: Mapping[str, tuple[Form, ...]] = field(default_factory=dict)
    commit: tuple[Step, ...] = ()
    create: tuple[Step, ...] = ()

    @staticmethod
    def load() -> Grammar:
        """The grammar of the pinned DuckLake. Raises `ValueError` where the file is wrong."""
        text = (files("azquack.catalog.policy") / "ducklake.grammar").read_text("utf-8")
        sections: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith("[") and line.endswith("]") and not line.startswith("[["):
                sections[line[1:-1]] = lines = []
            elif line.strip() and not line.startswith("#"):
                lines.append(line)
        rules = Rules(sections.pop("rules"))
        return Grammar(
            {
                name: tuple(Form(rules, line) for line in sections[name])
                for name in ("read", "guard", "write", "own")
            },
            tuple(_steps(rules, sections["commit"])),
            tuple(Step((Form(rules, line),), must=True) for line in sections["create"]),
        )


def _steps(rules: Rules, lines: Sequence[str]) -> list[Step]:
    steps: list[Step] = []
    group = False
    for line in lines:
        mark = line[0] if line[1] == " " else ""
        form = Form(rules, line[2:] if mark else line)
        if mark == "*" and group:
            steps[-1] = Step((*steps[-1].forms, form), often=True)
        else:
            steps.append(Step((form,), often=mark in ("*", "+"), must=mark == "!"))
        group = mark == "*"
    return steps


class Rules:
    """The named rules, made when they are first used."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._sources: dict[str, list[str]] = {}
        name = ""
        for line in lines:
            if line.startswith("| "):
                self._sources[name].append(line[2:])
            else:
                name, _, source = (part.strip() for part in line.partition(" ="))
                self._sources[name] = [source] if source else []
        self._made: dict[str, Part] = {name: Part(matcher=rule) for name, rule in NESTING.items()}

    def form(self, template: str) -> Matcher:
        """The matcher of a whole statement, blanks before it included."""
        return _matcher(_joined([Part(f"{_BLANK}*+"), *self._parts(template)]))

    def _rule(self, name: str) -> Part:
        if name not in self._made:
            if name not in self._sources:
                raise ValueError(f"the grammar has no rule {name}")
            self._made[name] = _either([self._source(each) for each in self._sources[name]])
        return self._made[name]

    def _source(self, source: str) -> Part:
        if source.startswith("/"):
            end = source.rindex("/")
            return Part(f"(?i:{source[1:end]})" if source[end + 1 :] == "i" else f"(?:{source[1:end]})")
        return _joined(self._parts(source))

    def _parts(self, template: str) -> list[Part]:
        """The parts of `template`, with [[ ]] and < > resolved."""
        stack: list[list[Part]] = [[]]
        at = 0
        for construct in [*_CONSTRUCT.finditer(template), None]:
            end = construct.start() if construct else len(template)
            stack[-1] += _words(template[at:end])
            if construct is None:
                break
            at = construct.end()
            match construct[0]:
                case "[[":
                    stack.append([])
                case "]]":
                    inner = _joined([*stack.pop(), Part(f"{_BLANK}*+")])
                    stack[-1].append(_maybe(inner))
                case _:
                    stack[-1].append(self._construct(construct["rule"]))
        if len(stack) != 1:
            raise ValueError(f"[[ and ]] do not match in {template}")
        return stack[0]

    def _construct(self, text: str) -> Part:
        if many := _LIST.fullmatch(text):
            return _many(self._rule(many["item"].strip()), many["how"])
        if "|" in text:
            # The longest first: none may match the beginning of another.
            return _either([_joined(_words(each)) for each in sorted(text.split("|"), key=len, reverse=True)])
        return self._rule(text)


def _words(sql: str) -> list[Part]:
    """`sql` word by word; blanks may be any, and none where no word meets a word."""
    lexemes = _LEXEME.findall(sql)
    regex = ""
    for before, lexeme, after in zip(["", *lexemes], lexemes, [*lexemes[1:], ""], strict=False):
        if not lexeme.isspace():
            regex += f"{_BLANK}*+{re.escape(lexeme)}" if not before.isspace() else re.escape(lexeme)
            regex += "" if after else f"{_BLANK}*+"
        else:
            regex += f"{_BLANK}++" if _is_word(before) and _is_word(after) else f"{_BLANK}*+"
    return [Part(regex)]


def _is_word(lexeme: str) -> bool:
    return lexeme[:1].isalnum() or lexeme[:1] == "_"


def _matcher(part: Part) -> Matcher:
    if part.matcher is not None:
        return part.matcher
    compiled = re.compile(part.regex)

    def match(text: str, at: int) -> int:
        found = compiled.match(text, at)
        return found.end() if found else -1

    return match


def _joined(parts: Sequence[Part]) -> Part:
    """One part after the other."""
    merged: list[Part] = []
    for part in parts:
        if part.matcher is None and merged and merged[-1].matcher is None:
            merged[-1] = Part(merged[-1].regex + part.regex)
        else:
            merged.append(part)
    if len(merged) == 1:
        return merged[0]
    matchers = [_matcher(part) for part in merged]

    def match(text: str, at: int) -> int:
        for each in matchers:
            if (at := each(text, at)) < 0:
                return -1
        return at

    return Part(matcher=match)


def _either(parts: Sequence[Part]) -> Part:
    """The first of `parts` that matches."""
    if len(parts) == 1:
        return parts[0]
    if all(part.matcher is None for part in parts):
        return Part(f"(?>{'|'.join(part.regex for part in parts)})")
    matchers = [_matcher(part) for part in parts]

    def match(text: str, at: int) -> int:
        return next((end for each in matchers if (end := each(text, at)) >= 0), -1)

    return Part(matcher=match)


def _maybe(part: Part) -> Part:
    if part.matcher is None:
        return Part(f"(?:{part.regex})?+")
    matcher = part.matcher
    return Part(matcher=lambda text, at: end if (end := matcher(text, at)) >= 0 else at)


def _many(item: Part, how: str) -> Part:
    """A list of `item`; with `how` "*" it may be empty."""
    between = _JOINS[how]
    if item.matcher is None:
        more = re.compile(f"(?:{between}{item.regex}){{1,{ROWS}}}+")
    first, gap = _matcher(item), re.compile(between)

    def rest(text: str, at: int) -> int:
        if item.matcher is None:
            while found := more.match(text, at):
                at = found.end()
            return at
        while (found := gap.match(text, at)) and (end := item.matcher(text, found.end())) >= 0:
            at = end
        return at

    def match(text: str, at: int) -> int:
        if how == "*":
            return rest(text, at)
        return rest(text, at) if (at := first(text, at)) >= 0 else -1

    return Part(matcher=match)
