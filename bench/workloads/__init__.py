"""The workloads, in the order in which they run."""

from bench.workloads.commits import Commits
from bench.workloads.workload import Figure, Figures, Measure, Size, Workload, WrongAnswerError

WORKLOADS: dict[str, type[Workload]] = {each.name: each for each in (Commits,)}

__all__ = ["WORKLOADS", "Figure", "Figures", "Measure", "Size", "Workload", "WrongAnswerError"]
