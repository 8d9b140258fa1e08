"""The queries of the alerts and of the workbook, read by Microsoft's own language service for Kusto."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.infra.test_templates import queries
from tests.standins import npm

HERE = Path(__file__).parent / "kusto"
# As the shell that runs the tests has it: npm may need it to reach its registry.
OUTSIDE = dict(os.environ)
# https://learn.microsoft.com/azure/azure-monitor/reference/tables-category, the two of Container Apps.
TABLES = {
    "ContainerAppConsoleLogs_CL": {
        "TimeGenerated": "datetime", "ContainerAppName_s": "string", "RevisionName_s": "string",
        "ContainerName_s": "string", "ContainerGroupName_s": "string", "ContainerImage_s": "string",
        "EnvironmentName_s": "string", "Log_s": "string", "Stream_s": "string",
    },
    "ContainerAppSystemLogs_CL": {
        "TimeGenerated": "datetime", "ContainerAppName_s": "string", "RevisionName_s": "string",
        "ReplicaName_s": "string", "EnvironmentName_s": "string", "Reason_s": "string", "Type_s": "string",
        "EventSource_s": "string", "Log_s": "string", "Count_d": "real",
    },
}  # fmt: skip


def complaints(asked: dict[str, str]) -> dict[str, list[str]]:
    """name → what the language service says of each query."""
    npm.install(HERE, OUTSIDE)
    done = subprocess.run(
        [npm.NODE, HERE / "check.js"],
        input=json.dumps({"tables": TABLES, "queries": asked}),
        text=True, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    said: dict[str, list[str]] = json.loads(done.stdout)
    return said


def test_every_query_is_sound() -> None:
    found = queries()
    assert len(found) >= 14
    assert complaints(found) == {name: [] for name in found}


def test_a_query_with_a_mistake_is_told() -> None:
    (first, *_) = queries().values()
    wrong = {
        "column": first.replace("ContainerAppName_s", "ContainerAppNames_s", 1),
        "table": first.replace("ContainerApp", "ContainersApp", 1),
        "operator": first.replace("where", "whre", 1),
    }
    assert all(complaints(wrong).values())
