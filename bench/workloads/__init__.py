"""The workloads, in the order in which they run."""

from bench.workloads.commits import Commits
from bench.workloads.growth import Growth
from bench.workloads.links import Links
from bench.workloads.memory import Memory
from bench.workloads.nodes import Nodes
from bench.workloads.queries import Queries
from bench.workloads.rest import Rest
from bench.workloads.starts import Starts
from bench.workloads.storage import Storage
from bench.workloads.tpch import Tpch
from bench.workloads.transfer import Transfer
from bench.workloads.versions import Versions
from bench.workloads.workload import Figure, Figures, Measure, Size, Workload, WrongAnswerError

WORKLOADS: dict[str, type[Workload]] = {
    each.name: each
    for each in (
        Tpch,
        Transfer,
        Commits,
        Queries,
        Starts,
        Rest,
        Memory,
        Growth,
        Nodes,
        Links,
        Storage,
        Versions,
    )
}

__all__ = ["WORKLOADS", "Figure", "Figures", "Measure", "Size", "Workload", "WrongAnswerError"]
