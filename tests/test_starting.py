"""A replica that starts answers its probes from the first second, and says what it waits for."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from azquack.starting import StartingSidecar
from tests.cluster import end, wait_until


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask(port: int, path: str) -> tuple[int, dict[str, Any]] | None:
    """(status, body); None while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return None


def test_it_is_alive_and_not_ready_and_says_why() -> None:
    with StartingSidecar("127.0.0.1", port := free_port()) as sidecar:
        sidecar.waits_for("the lease")
        assert ask(port, "/healthz") == (200, {"status": "starting", "waits_for": "the lease"})
        status = ask(port, "/readyz")
        assert status is not None
        assert (status[0], status[1]["ready"], status[1]["waits_for"]) == (503, False, "the lease")
        assert (ask(port, "/metrics") or (0,))[0] == 404
        # A client that sends nothing holds nobody up.
        with socket.create_connection(("127.0.0.1", port)):
            assert (ask(port, "/healthz") or (0,))[0] == 200
    assert ask(port, "/healthz") is None


def test_a_query_replica_whose_catalog_is_away_answers_from_the_first_second(tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "AZQUACK_CATALOG": f"quack:127.0.0.1:{free_port()}",
        "AZQUACK_DATA_PATH": str(tmp_path / "data"),
        "AZQUACK_TOKEN_SOURCE": "generated",
        "AZQUACK_TOKEN_DIR": str(tmp_path / "tokens"),
        "AZQUACK_HTTP_PORT": str(port),
        "AZQUACK_START_TIMEOUT": "60",
    }
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "azquack", "serve", "query"],
            env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
    try:
        sentence = lambda: f"nobody answered the probes: {log.read_text()}"  # noqa: E731
        wait_until(lambda: (ask(port, "/healthz") or (0,))[0] == 200, sentence)
        waits = "the process query-"
        wait_until(lambda: waits in str((ask(port, "/readyz") or (0, ""))[1]), sentence)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        end(process)
