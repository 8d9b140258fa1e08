"""What the infrastructure checks share: where things lie, and Microsoft's schemas where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
# Microsoft's schemas are data of theirs and no part of this repository; a checkout may have them beside it.
SCHEMAS = ROOT.parent / "shared" / "schemas"


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The directory with `arm/` and `azd/`; skips where it is absent."""
    if not SCHEMAS.is_dir():
        pytest.skip(f"the ARM and azd schemas are not at {SCHEMAS}: nothing to hold the files against")
    return SCHEMAS


def load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
