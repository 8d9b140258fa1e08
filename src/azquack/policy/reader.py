"""A place in the tokens of a statement: words, names and clauses, read from left to right."""

from __future__ import annotations

from dataclasses import dataclass

from azquack.policy.errors import Refused, Unclear
from azquack.policy.lexer import Text
from azquack.policy.naming import What

# Words that DuckDB would also take for an alias, where they begin the next clause.
_NO_ALIAS = frozenset({"set", "using", "values"})


@dataclass(slots=True)
class Target:
    """What a statement changes: a privilege on a table, view or macro (`schema` of a bare name is empty).

    `table` is `*` where the statement is about a schema as a whole. `first` is the token at which the name begins,
    `what` the kind of thing, and `makes` says that it comes into being.
    """

    privilege: str
    catalog: str
    schema: str
    table: str
    first: int = -1
    what: What = "table"
    makes: bool = False

    @property
    def parts(self) -> list[str]:
        """The parts of the name that the statement holds."""
        shown = [self.schema] if self.what == "schema" else [self.schema, self.table]
        return [each for each in (self.catalog, *shown) if each]


class Reader:
    """A place in the tokens of a statement."""

    def __init__(self, text: Text, reserved: frozenset[str]) -> None:
        self.text = text
        self.reserved = reserved
        self.tokens = list(text.tokens)
        while self.tokens and self.tokens[-1].text.startswith(";"):
            self.tokens.pop()
        self.at = 0

    def word(self, ahead: int = 0) -> str | None:
        """The bare word here, in lower case; None for anything else, a quoted name included."""
        place = self.at + ahead
        if place >= len(self.tokens) or self.tokens[place].quoted:
            return None
        return self.tokens[place].name

    def sign(self, ahead: int = 0) -> str:
        """The first character of the operator here, or nothing."""
        place = self.at + ahead
        if place >= len(self.tokens) or self.tokens[place].name is not None:
            return ""
        return self.tokens[place].text[:1]

    def take(self, *words: str) -> bool:
        """Steps over `words` if they stand here one after the other."""
        if all(self.word(place) == word for place, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def need(self, *words: str) -> None:
        if not self.take(*words):
            raise Unclear(f"the statement cannot be checked: expected {' '.join(words).upper()}")

    def one(self) -> str:
        """Steps over one name and gives it in lower case."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if self.sign() == "'":
            raise Refused("a name in single quotes is not allowed: use double quotes")
        # An unquoted reserved word is grammar (`ONLY`), and no name.
        if token is None or token.name is None or (not token.quoted and token.name in self.reserved):
            raise Unclear("the statement cannot be checked: expected a name")
        self.at += 1
        return token.name

    def parts(self) -> list[str]:
        """Steps over a dotted name and gives its parts."""
        parts = [self.one()]
        while self.sign() == ".":
            self.at += 1
            parts.append(self._label())
        return parts

    def _label(self) -> str:
        """Steps over the name behind a dot, where DuckDB takes reserved words too."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if token is None or token.name is None:
            return self.one()
        self.at += 1
        return token.name

    def name(self, privilege: str, what: What = "table", *, makes: bool = False) -> Target:
        """Steps over the name of a table, view or macro."""
        first = self.at
        return target_of(privilege, self.parts(), first, what, makes=makes)

    def schema(self, *, makes: bool = False) -> Target:
        """Steps over the name of a schema."""
        first = self.at
        return target_of("create", [*self.parts(), "*"], first, "schema", makes=makes)

    def group(self) -> None:
        """Steps over a parenthesised list of names; raises `Unclear` when it holds anything else."""
        self.at += 1
        self.parts()
        while self.sign() == ",":
            self.at += 1
            self.parts()
        if self.sign() != ")":
            raise Unclear("the statement cannot be checked: expected a list of column names")
        self.at += 1

    def alias(self) -> None:
        """Steps over `AS name` or a bare alias."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if self.take("as") or (
            token
            and token.name
            and (token.quoted or (token.name not in self.reserved and token.name not in _NO_ALIAS))
        ):
            self.one()

    def peek(self, ahead: int) -> str:
        """The name `ahead` of here, in lower case; nothing where there is none."""
        place = self.at + ahead
        return (self.tokens[place].name or "") if place < len(self.tokens) else ""

    def comma(self, first: int, end: int) -> int:
        """The place of the comma, or of the parenthesis that closes, behind what begins at `first`; or `end`."""
        depth = 0
        for place in range(first, end):
            sign = self.tokens[place].text[:1] if self.tokens[place].name is None else ""
            if depth == 0 and sign in (",", ")"):
                return place
            depth += (sign in ("(", "[", "{")) - (sign in (")", "]", "}"))
        return end

    def find(self, *words: str) -> int:
        """The place of the next of `words` outside parentheses and CASE … END, or the end."""
        depth = cases = 0
        for place in range(self.at, len(self.tokens)):
            token = self.tokens[place]
            if token.name is None:
                depth += (token.text[0] in "([{") - (token.text[0] in ")]}")
            elif not token.quoted and depth == 0:
                if token.name in words and cases == 0:
                    return place
                cases += (token.name == "case") - (token.name == "end" and cases > 0)
        return len(self.tokens)

    def drop_end(self, *words: str) -> bool:
        """Leaves `words` out if the statement ends with them."""
        last = self.tokens[-len(words) :]
        if len(last) < len(words) or any(
            token.quoted or token.name != word for token, word in zip(last, words, strict=True)
        ):
            return False
        del self.tokens[-len(words) :]
        return True

    def until(self, *words: str) -> tuple[int, int]:
        """Steps to the next of `words` and gives the tokens up to there."""
        first, self.at = self.at, self.find(*words)
        return first, self.at

    def rest(self) -> tuple[int, int]:
        return self.until()

    @property
    def done(self) -> bool:
        return self.at >= len(self.tokens)


def target_of(
    privilege: str, parts: list[str], first: int = -1, what: What = "table", *, makes: bool = False
) -> Target:
    if not 1 <= len(parts) <= 3:
        raise Unclear("the statement cannot be checked: a name has too few or too many parts")
    catalog, schema, table = ["", "", *parts][-3:]
    return Target(privilege, catalog, schema, table, first, what, makes)
