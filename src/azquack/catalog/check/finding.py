"""What a check can find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong: what it means for the lake's users, and what mends it.

    `find` gives one row with one text for each place where it is wrong; `repair` mends all of them, changes
    nothing that a reader could see, and is empty where that cannot be had. Both speak to the catalog's own
    tables. A rule that is not `serious` is worth knowing and may be quite in order.
    """

    name: str
    meaning: str
    mend: str
    find: str = ""
    repair: tuple[str, ...] = ()
    serious: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule is broken; `repair` mends this place only, beside what its rule can do."""

    rule: Rule
    subject: str
    repair: tuple[str, ...] = field(default=())

    @property
    def serious(self) -> bool:
        """Whether something is to be done."""
        return self.rule.serious

    @property
    def repairs(self) -> tuple[str, ...]:
        """Every statement that mends it, to run on the catalog."""
        return (*self.rule.repair, *self.repair)

    def message(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "rule": self.rule.name,
            "subject": self.subject,
            "meaning": self.rule.meaning,
            "mend": self.rule.mend,
            "serious": self.serious,
            "repairable": bool(self.repairs),
        }
