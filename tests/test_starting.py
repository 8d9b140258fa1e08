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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from azquack.replicas.starting import StartingSidecar
from tests.cluster import end, read_line, wait_until
from tests.link.processes import TcpProxy
from tests.standins.azurite import Azurite

# What Blob Storage says to an identity whose role does not count yet.
FORBIDDEN = (
    b"HTTP/1.1 403 This request is not authorized to perform this operation using this permission.\r\n"
    b"Content-Type: application/xml\r\nx-ms-error-code: AuthorizationPermissionMismatch\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)
MISMATCH = (
    b'<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthorizationPermissionMismatch</Code><Message>This request '
    b"is not authorized to perform this operation using this permission.</Message></Error>"
)


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


@contextmanager
def replica(role: str, log: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "azquack", "serve", role],
            env=os.environ | settings, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        end(process, first=signal.SIGTERM)


@pytest.mark.parametrize("waiting", ["catalog", "query"])
def test_a_replica_waits_for_a_role_that_does_not_count_yet(
    tmp_path: Path, azurite: Azurite, waiting: str
) -> None:
    container = f"role-{waiting}"
    azurite.make_container(container)
    proxy = TcpProxy(azurite.port)
    proxy.answer_instead(FORBIDDEN % (len(MISMATCH), MISMATCH))
    port = free_port()
    common = {
        "AZQUACK_DATA_PATH": f"az://{container}/lake",
        "AZQUACK_AZURE_CONNECTION_STRING": azurite.connection_string,
        "AZQUACK_TOKEN_SOURCE": "generated",
        "AZQUACK_TOKEN_DIR": str(tmp_path / "tokens"),
        "AZQUACK_PORT": "0",
    }
    late = {
        "AZQUACK_AZURE_CONNECTION_STRING": azurite.connection_string_by(proxy.port),
        "AZQUACK_HTTP_PORT": str(port),
    }
    settings = {
        "catalog": {
            "AZQUACK_CATALOG_DIR": str(tmp_path / "catalog"),
            "AZQUACK_BACKUP_TO": f"az://{container}/backups",
        },
        "query": {},
    }
    log = tmp_path / f"{waiting}.log"

    def sentence() -> str:
        return f"{waiting} did not wait and then serve: {log.read_text()}"

    def catalogs() -> str:
        return f"the catalog did not start: {(tmp_path / 'catalog.log').read_text()}"

    with ExitStack() as stack:
        if waiting == "query":
            catalog = stack.enter_context(
                replica("catalog", tmp_path / "catalog.log", common | settings["catalog"])
            )
            ports = json.loads(read_line(catalog, catalogs))["ports"]
            settings["query"]["AZQUACK_CATALOG"] = f"quack:127.0.0.1:{ports['catalog-gateway']}"
        process = stack.enter_context(replica(waiting, log, common | settings[waiting] | late))
        waits = "a role, which takes some minutes to count"
        wait_until(lambda: waits in str((ask(port, "/readyz") or (0, ""))[1]), sentence, 60)
        assert process.poll() is None, sentence()
        proxy.restore()
        assert json.loads(read_line(process, sentence))["event"] == "ready"
        wait_until(lambda: (ask(port, "/readyz") or (0,))[0] == 200, sentence)
