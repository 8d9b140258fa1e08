"""The examples of docs/clients.md, run as they stand, against a pair."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from azquack.lake import extensions
from tests.cluster import Pair

PAGE = Path(__file__).parents[1] / "docs" / "clients.md"
ADDRESS = "quack:lake.example.com:443"


def test_the_python_example_runs_as_it_stands(pair: Pair, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    # Where DuckDB looks for extensions unless told.
    extensions.link_all(tmp_path / ".duckdb" / "extensions")
    finished = subprocess.run(
        [sys.executable, "-c", example.replace(ADDRESS, pair.uri)],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"HOME": str(tmp_path), "AZQUACK_TOKEN": pair.token},
    )  # fmt: skip
    assert (finished.returncode, finished.stdout) == (0, "[(42,)]\n"), finished.stderr
