"""The benchmark runs: every workload with every contender in tiny sizes, and what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from bench import report
from bench.results import Results, Row
from bench.targets import verdicts
from bench.workloads import WORKLOADS
from tests.standins import postgres

ROOT = Path(__file__).parents[1]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m bench` with `arguments`, finished."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_workload_measures_every_contender(workload: str, tmp_path: Path) -> None:
    if reason := postgres.install():
        pytest.skip(reason)
    path = tmp_path / "figures.json"
    finished = bench("--quick", "--rounds", "2", "--workload", workload, "--json", str(path))
    assert finished.returncode == 0, finished.stderr
    content = json.loads(path.read_text())
    rows = content["rows"]
    assert all(row.keys() == {each.name for each in fields(Row)} for row in rows)
    assert {row["workload"] for row in rows} == {workload}
    assert {row["contender"] for row in rows} == set(WORKLOADS[workload].contenders)
    assert all(row["min"] <= row["median"] <= row["max"] and row["rounds"] == 2 for row in rows)
    assert content["runs"][workload].keys() >= {"machine", "versions", "command", "rounds"}
    page = path.with_suffix(".md").read_text()
    assert f"## {WORKLOADS[workload].title}\n" in page
    assert (f"plots/{workload}.svg" in page) == (tmp_path / "plots" / f"{workload}.svg").exists()


def results_of(**figures: float) -> Results:
    """The commits of AzQuack and PostgreSQL at the rates of `figures`."""
    made = Results()
    rows = [Row.of("commits", who, "1 row, 1 client", "/s", [rate]) for who, rate in figures.items()]
    made.replace("commits", rows, {"scale": 1})
    return made


def test_a_run_of_one_workload_keeps_the_figures_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    results = results_of(azquack=1)
    results.replace("rest", [Row.of("rest", "azquack", "memory", "MB", [3, 1, 2])], {})
    results.save(path)
    loaded = Results.load(path)
    loaded.replace("commits", [Row.of("commits", "azquack", "new", "/s", [5])], {})
    loaded.save(path)
    assert [(row.workload, row.figure, row.median) for row in Results.load(path).rows] == [
        ("rest", "memory", 2),
        ("commits", "new", 5),
    ]


@pytest.mark.parametrize(("ours", "met"), [(150, True), (100, True), (99, False)])
def test_a_target_is_met_from_its_goal_on(ours: float, met: bool) -> None:
    results = results_of(azquack=ours, postgres=100)
    (found,) = [each for each in verdicts(results) if each.target.startswith("Commits, 1 client")]
    assert found.met is met
    assert found.value == ours / 100
    assert ("missed" in found.row()) is not met


def test_what_was_not_measured_is_said_and_not_met() -> None:
    found = verdicts(Results())
    assert not any(each.met for each in found)
    assert all("not measured" in each.row() for each in found)


def test_the_committed_page_is_that_of_the_committed_figures(tmp_path: Path) -> None:
    page = ROOT / "docs" / "benchmarks.md"
    if not page.with_suffix(".json").exists():
        assert not page.exists()
        return
    made = tmp_path / "benchmarks.md"
    report.write(Results.load(page.with_suffix(".json")), made)
    assert made.read_text() == page.read_text(), (
        "the page is not what its figures give: python -m bench --workload NAME writes both"
    )


def test_an_unknown_workload_is_refused_in_a_sentence() -> None:
    finished = bench("--workload", "nonsense")
    assert finished.returncode != 0
    assert "'nonsense' is no workload" in finished.stderr
    assert "Traceback" not in finished.stderr
