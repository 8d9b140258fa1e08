"""checkov reads every Bicep file, and finds nothing but what is accepted with a reason."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.infra.conftest import INFRA, ROOT

ACCEPTED = tomllib.loads((Path(__file__).parent / "checkov-accepted.toml").read_text(encoding="utf-8"))


def test_every_accepted_finding_has_a_reason() -> None:
    assert [rule for rule, entry in ACCEPTED.items() if len(entry["reason"]) < 40] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_checkov_finds_only_what_is_accepted() -> None:
    # checkov has pins of its own that do not go with ours: it has an environment of its own.
    subprocess.run([ROOT / "scripts" / "check-infra.sh", "--setup"], check=True, timeout=300)
    not_run = [rule for rule, entry in ACCEPTED.items() if not entry["files"]]
    done = subprocess.run(
        [
            ROOT / ".venv-infra" / "bin" / "checkov", "--directory", INFRA, "--framework", "bicep",
            "--skip-download", "--skip-check", ",".join(not_run), "--output", "json",
        ],
        text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    assert "Failed to run check" not in done.stderr
    # It counts resources, not files: each module must have given some.
    read = {Path(each["file_path"]).name for each in report["results"]["passed_checks"]}
    assert {"container-app.bicep", "data-storage.bicep", "key-vault.bicep", "registry.bicep"} & read
    found = {(each["check_id"], Path(each["file_path"]).name) for each in report["results"]["failed_checks"]}
    assert found == {(rule, file) for rule, entry in ACCEPTED.items() for file in entry["files"]}
