"""What a workload is: for each contender something that can be measured once a round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.contenders import CONTENDERS, Contender


@dataclass(frozen=True)
class Figure:
    """One measured value. `unit`: `s`, `ms`, `/s`, `MB`, `cores`, `count`."""

    value: float
    unit: str


Figures = Mapping[str, Figure]
Measure = Callable[[], Figures]


@dataclass(frozen=True)
class Size:
    """How much a workload does: TPC-H's scale factor, and the seconds of one measure of many clients."""

    scale: float = 1.0
    seconds: float = 1.5
    quick: bool = False


class WrongAnswerError(Exception):
    """A contender answered, and not what it should."""


class Workload(ABC):
    """One family of measures."""

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    """What is measured, for the reader of the report: one paragraph."""
    contenders: ClassVar[tuple[str, ...]] = tuple(CONTENDERS)
    plots: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Titles, and patterns of the figures that each shows side by side."""

    def __init__(self, size: Size, files: Path) -> None:
        self.size = size
        self.files = files
        """Where the data lies that workloads share; it is made once in a run."""

    @abstractmethod
    def measured(self, contender: Contender) -> AbstractContextManager[Measure]:
        """`contender` made ready; calling what this gives measures it once. `WrongAnswerError` is a failure."""


def check(what: str, answer: object, expected: object) -> None:
    """Raises `WrongAnswerError` unless `answer` is `expected`."""
    if answer != expected:
        raise WrongAnswerError(f"{what}: {str(answer)[:200]}, which should be {str(expected)[:200]}")
