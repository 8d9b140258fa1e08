"""The two roles as they run in Azure: Blob Storage by managed identity over TLS, tokens in Key Vault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cluster import Shell, attached, end, read_line, wait_until
from tests.standins.azure import Azure

PUBLIC, INTERNAL = "public-token-of-the-vault", "internal-token-of-the-vault"


class AzurePair:
    """`azquack serve catalog` and `azquack serve query`, whose whole configuration is their environment."""

    def __init__(self, directory: Path, azure: Azure, container: str) -> None:
        self._directory = directory
        self._log = directory / "pair.log"
        settings = {**azure.settings, "http_port": "0", "port": "0"}
        self._environment = os.environ | azure.environment
        self._environment |= {f"AZQUACK_{name.upper()}": value for name, value in settings.items()}
        self.container = container
        self._processes: list[subprocess.Popen[str]] = []
        self.token = PUBLIC
        self.uri = self.http_url = ""

    def start(self) -> None:
        """Start both and wait until they serve."""
        catalog = self._serve(
            "catalog", "catalog-gateway", AZQUACK_CATALOG_DIR=str(self._directory / "catalog")
        )
        query = self._serve(
            "query",
            "query-gateway",
            AZQUACK_CATALOG=f"quack:127.0.0.1:{catalog}",
            AZQUACK_DATA_PATH=f"az://{self.container}/lake/",
        )
        self.uri = f"quack:127.0.0.1:{query}"

    def _serve(self, role: str, gateway: str, **more: str) -> int:
        """Start a replica; the port of its gateway."""
        (self._directory / "catalog").mkdir(exist_ok=True)
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "azquack", "serve", role],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
                env=self._environment | more, cwd=self._directory,
            )  # fmt: skip
        self._processes.append(process)
        ready = json.loads(
            read_line(process, lambda: f"the {role} replica did not start:\n{self.log_text()}")
        )
        return int(ready["ports"][gateway])

    def stop(self) -> list[int]:
        """End both, the query replica first; their exit codes."""
        codes = [end(process, first=signal.SIGTERM) for process in reversed(self._processes)]
        self._processes.clear()
        return codes

    def command_lines(self) -> Iterator[str]:
        """Those of every process of both replicas."""
        for process in self._processes:
            parent = psutil.Process(process.pid)
            for each in (parent, *parent.children(recursive=True)):
                # A backup run may have ended meanwhile.
                with suppress(psutil.NoSuchProcess):
                    yield " ".join(each.cmdline())

    def log_text(self) -> str:
        """What the processes wrote so far."""
        return self._log.read_text() if self._log.exists() else ""


@pytest.fixture
def pair(tmp_path: Path, azure: Azure) -> Iterator[AzurePair]:
    """A pair that serves, with a container of its own."""
    container = f"pair{len(azure.identity.requests)}"
    azure.blob.make_container(container)
    azure.vault.secrets.update({"public-token": PUBLIC, "internal-token": INTERNAL})
    made = AzurePair(tmp_path, azure, container)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_the_pair_writes_to_blob_storage_by_its_identity(
    tmp_path: Path, azure: Azure, pair: AzurePair
) -> None:
    shell = Shell(pair, tmp_path / "home")
    shell.run("CREATE TABLE r.numbers AS SELECT range AS i FROM range(10000)")
    assert (
        shell.rows("SELECT * FROM r.query('SELECT sum(i)::BIGINT AS total FROM numbers')")
        == "total\n49995000"
    )
    assert any(name.endswith(".parquet") for name in azure.blob.blobs(pair.container))
    refused = shell.run("FROM r.numbers", token="not-the-token-of-the-vault", check=False)
    assert refused.returncode != 0

    # The identity endpoint is throttled: what is running goes on, with the token that is at hand.
    with azure.identity.failing(429):
        for number in range(3):
            shell.run(f"CREATE TABLE r.t{number} AS SELECT range AS i FROM range(10000)")
    with azure.identity.silent():
        shell.run("CREATE TABLE r.in_silence AS SELECT range AS i FROM range(10000)")

    log = pair.log_text()
    shown = log + "".join(pair.command_lines())
    for secret in (PUBLIC, INTERNAL, azure.identity.header, "eyJ"):
        assert secret not in shown
    assert pair.stop() == [0, 0], pair.log_text()


@pytest.fixture
def short_lived(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity tokens that live for 20 seconds."""
    monkeypatch.setattr(azure.identity, "life", 20.0)


@pytest.mark.slow
@pytest.mark.usefixtures("short_lived")
def test_writes_go_on_while_identity_tokens_expire(tmp_path: Path, azure: Azure, pair: AzurePair) -> None:
    def storage_tokens() -> int:
        return sum(each.query["resource"] == "https://storage.azure.com" for each in azure.identity.requests)

    asked = storage_tokens()
    with attached(pair, tmp_path / "home") as client:

        def written_with_three_more_tokens() -> bool:
            client.execute("FROM r.query('CREATE OR REPLACE TABLE t AS SELECT range AS i FROM range(10000)')")
            return storage_tokens() >= asked + 3

        wait_until(written_with_three_more_tokens, "the node asked for no further tokens", timeout=120)
        counted = client.execute("FROM r.query('SELECT count(*), sum(i)::BIGINT FROM t')").fetchone()
        assert counted == (10000, 49995000)
