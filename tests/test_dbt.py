"""dbt with the adapter that ships in `integrations/dbt`: its own tests, run against a pair."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from azquack.lake import extensions
from tests.cluster import Pair
from tests.environments import ROOT, environment

ADAPTER = "integrations/dbt"


def run(pair: Pair, home: Path, *arguments: str) -> None:
    """Runs the adapter's tests with `arguments`."""
    programs = environment("dbt", ADAPTER)
    extensions.link_all(home)
    _, host, port = pair.uri.split(":")
    finished = subprocess.run(
        [programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, *arguments],
        cwd=ROOT / ADAPTER / "tests", capture_output=True, text=True, timeout=900, check=False,
        env=os.environ | {
            "AZQUACK_HOST": host, "AZQUACK_PORT": port, "AZQUACK_EXTENSIONS": str(home),
            "DBT_ENV_SECRET_AZQUACK_TOKEN": pair.token,
        },
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout[-8000:]


def test_dbt_builds_a_small_shop(pair: Pair, home: Path) -> None:
    run(pair, home, "-k", "quick or statement or profile or not_there", "test_adapter.py")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dbt_does_all_that_its_readme_says(pair: Pair, home: Path) -> None:
    run(pair, home, "-k", "not quick and not statement and not profile and not not_there", "test_adapter.py")
