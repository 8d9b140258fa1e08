"""What a diagnosis found: each finding a sentence, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import duckdb

from azquack.errors import AzQuackError
from azquack.sql import first_line


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # something does not work, or would not at the next start
    WARNING = "warning"  # it works, and somebody should see to it


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong `about` a part, and the `advice` what to do."""

    about: str
    level: Level
    problem: str
    advice: str


class Diagnosis:
    """The parts that were examined, in order, and what was found; nothing is said twice."""

    def __init__(self) -> None:
        self.examined: list[str] = []
        self.findings: list[Finding] = []

    @property
    def failed(self) -> bool:
        """Whether something does not work."""
        return any(each.level is Level.ERROR for each in self.findings)

    def error(self, about: str, problem: str, advice: str) -> None:
        """Something does not work."""
        self._add(Finding(about, Level.ERROR, problem, advice))

    def warn(self, about: str, problem: str, advice: str) -> None:
        """Something works, and should be seen to."""
        self._add(Finding(about, Level.WARNING, problem, advice))

    @contextmanager
    def examining(self, about: str, advice: str) -> Iterator[None]:
        """Examine a part: whatever fails within is a finding about it, and the next part is examined all the same."""
        self.examined.append(about)
        try:
            yield
        except AzQuackError as error:
            self.error(about, str(error), advice)
        except duckdb.Error as error:
            self.error(about, first_line(error), advice)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            self.error(about, f"{(error.strerror or str(error)).lower()}{where}", advice)

    def _add(self, finding: Finding) -> None:
        if finding.problem not in [each.problem for each in self.findings]:
            self.findings.append(finding)
