"""The container image, built from the unmodified Dockerfile and run in both roles as Container Apps would.

Root file system read-only, user 1000, 1 GiB, no network but a loopback on which Blob Storage (Azurite over TLS
with OAuth), the identity endpoint and Key Vault stand. Azure Files is a mounted directory.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from azquack import client
from tests.cluster import close, end, read_line, wait_until
from tests.image.containers import IMAGE, ROOT, Container, Namespace, missing, run
from tests.standins import azurite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# As the shell that runs the tests has it: npm may need it to reach its registry.
OUTSIDE = dict(os.environ)
CATALOG_PORT, QUERY_PORT, CATALOG_HTTP, QUERY_HTTP = "9500", "9494", "8081", "8080"


@pytest.fixture(scope="module")
def image() -> str:
    """The image, built once."""
    if why := missing() or azurite.missing():
        pytest.skip(f"the image is not built: {why}")
    run(ROOT / "scripts" / "build-image-without-engine.sh", "--tag", IMAGE, timeout=600)
    return IMAGE


class Deployment:
    """Both roles in containers, with stand-ins of Azure around them, in a namespace of their own."""

    def __init__(self, directory: Path, life: float) -> None:
        self.namespace = Namespace(f"azq-{secrets.token_hex(4)}")
        self.tokens = {name: secrets.token_urlsafe(24) for name in ("public-token", "internal-token")}
        self._directory, self._life = directory, life
        self._azure: subprocess.Popen[str] | None = None
        self.catalog: Container
        self.query: Container

    @property
    def containers(self) -> list[Container]:
        return [self.catalog, self.query]

    def start(self) -> None:
        """Bring everything up and wait until it is ready."""
        azurite.install(OUTSIDE)  # now, since the namespace leads to no registry
        self.namespace.make()
        secret = [part for name, value in self.tokens.items() for part in ("--secret", f"{name}={value}")]
        self._azure = subprocess.Popen(
            self.namespace.command(
                sys.executable, "-m", "tests.standins", "--life", str(self._life),
                "--container", "lake", "--container", "backups", *secret,
            ),
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=ROOT, env=OUTSIDE,
        )  # fmt: skip
        azure = json.loads(read_line(self._azure, "Azure's stand-ins did not start", timeout=120))
        bundle = Path(azure["environment"]["CURL_CA_INFO"])
        share = self._directory / "share"
        share.mkdir()
        os.chown(share, 1000, 1000)
        # The tmpfs on /tmp would hide a file that is mounted there.
        environment = azure["environment"] | dict.fromkeys(("CURL_CA_INFO", "REQUESTS_CA_BUNDLE"), "/ca.pem")
        bundle.chmod(0o644)
        self.catalog = Container(
            f"{self.namespace.name}-catalog", self.namespace,
            azure["settings"] | {
                "role": "catalog", "catalog_dir": "/catalog", "port": CATALOG_PORT, "http_port": CATALOG_HTTP,
                "backup_to": "az://backups/catalog", "backup_every": "5",
            },
            environment, {bundle: "/ca.pem:ro", share: "/catalog"},
        )  # fmt: skip
        self.query = Container(
            f"{self.namespace.name}-query", self.namespace,
            azure["settings"] | {
                "role": "query", "catalog": f"quack:127.0.0.1:{CATALOG_PORT}", "data_path": "az://lake/lake/",
                "port": QUERY_PORT, "http_port": QUERY_HTTP,
            },
            environment, {bundle: "/ca.pem:ro"},
        )  # fmt: skip
        for container in self.containers:
            container.start()
        self.wait_until_ready()

    def is_ready(self, port: str) -> bool:
        """Whether the sidecar on `port` says so."""
        return bool(self.namespace.get(f"http://127.0.0.1:{port}/readyz")[0] == 200)

    def wait_until_ready(self) -> None:
        """Wait for both sidecars to say so."""
        for port in (CATALOG_HTTP, QUERY_HTTP):
            wait_until(partial(self.is_ready, port), f"port {port} did not say ready\n{self.log_text()}", 90)

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Runs `statement` in the lake through the public door."""
        done = subprocess.run(
            self.namespace.command(
                sys.executable, "-m", "azquack", "sql", "--uri", f"quack:127.0.0.1:{QUERY_PORT}",
                "--format", "json", statement,
            ),
            text=True, capture_output=True, timeout=120, check=False, cwd=self._directory,
            env=OUTSIDE | {client.TOKEN_VARIABLE: self.tokens["public-token"]},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + self.log_text()
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def log_text(self) -> str:
        """The end of what the containers wrote."""
        return "\n".join(f"{each.name}:\n{each.log_text()[-4000:]}" for each in self.containers)

    def destroy(self) -> None:
        """End and remove everything."""
        for name in ("query", "catalog"):
            if hasattr(self, name):
                getattr(self, name).remove()
        if self._azure is not None:
            close(self._azure.stdin)
            end(self._azure)
        self.namespace.remove()


@pytest.fixture(scope="module")
def deployment(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose identity tokens live for 20 seconds: each test meets several refreshes."""
    made = Deployment(tmp_path_factory.mktemp("deployment"), life=20)
    try:
        made.start()
        yield made
    finally:
        made.destroy()


def test_the_image_says_what_it_is(image: str) -> None:
    (found,) = json.loads(run("podman", "inspect", image))
    assert found["User"] == "1000:1000"
    assert found["Labels"]["org.opencontainers.image.title"] == "AzQuack"
    assert found["Labels"]["org.opencontainers.image.revision"]
    assert found["Config"]["Entrypoint"] == ["azquack"]
    assert found["Config"]["StopSignal"] == "SIGTERM"


def test_a_layer_holds_no_secret_and_no_source(image: str, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    run("podman", "save", "--quiet", "--output", archive, image, timeout=300)
    with tarfile.open(archive) as layers:
        names = [
            name
            for member in layers
            if (opened := layers.extractfile(member)) is not None and tarfile.is_tarfile(opened)
            for name in _members(layers, member)
        ]
    assert any(name.endswith("/azquack/supervisor.py") for name in names)
    assert not [name for name in names if Path(name).name in (".env", "id_rsa") or name.startswith("src/")]


def _members(layers: tarfile.TarFile, member: tarfile.TarInfo) -> list[str]:
    opened = layers.extractfile(member)
    assert opened is not None
    with tarfile.open(fileobj=opened) as layer:
        return layer.getnames()


def test_it_runs_without_rights(deployment: Deployment) -> None:
    for container in deployment.containers:
        assert container.inspect()["HostConfig"]["ReadonlyRootfs"] is True
        for process in container.processes():
            status = (process / "status").read_text()
            assert "\nUid:\t1000\t1000\t1000\t1000\n" in status
            assert "\nCapEff:\t0000000000000000\n" in status


def test_rows_go_to_blob_storage_and_come_back(deployment: Deployment) -> None:
    deployment.sql("CREATE TABLE numbers AS SELECT range AS i FROM range(100000)")
    assert deployment.sql("SELECT count(*) AS n, sum(i)::BIGINT AS s FROM numbers") == [
        {"n": 100000, "s": 4999950000}
    ]
    files = deployment.sql("SELECT DISTINCT filename FROM numbers")
    assert files
    assert all(each["filename"].startswith("az://lake/lake/") for each in files)


def test_the_suite_of_the_local_pair_passes(deployment: Deployment) -> None:
    done = subprocess.run(
        deployment.namespace.command(
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow",
            "tests/test_flights.py", "tests/test_concurrent.py",
            "--deselect", "tests/test_flights.py::test_all_is_there_after_both_nodes_stopped_and_started",
        ),
        text=True, capture_output=True, timeout=600, check=False, cwd=ROOT,
        env=OUTSIDE | {
            "AZQUACK_TEST_URI": f"quack:127.0.0.1:{QUERY_PORT}",
            "AZQUACK_TEST_HTTP_URL": f"http://127.0.0.1:{QUERY_HTTP}",
            client.TOKEN_VARIABLE: deployment.tokens["public-token"],
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + deployment.log_text()
    assert " passed" in done.stdout


def test_the_catalog_backs_itself_up_into_its_container(deployment: Deployment) -> None:
    deployment.sql("CREATE TABLE to_be_backed_up (i INTEGER)")
    wait_until(
        lambda: '"message": "backed up"' in deployment.catalog.log_text(),
        f"no backup was taken:\n{deployment.log_text()}",
    )


@pytest.mark.parametrize("role", ["catalog", "query"])
def test_a_killed_container_comes_back_with_every_row(deployment: Deployment, role: str) -> None:
    deployment.sql(f"CREATE TABLE before_{role} AS SELECT 42 AS answer")
    container = getattr(deployment, role)
    container.kill()
    container.restart()
    deployment.wait_until_ready()
    assert deployment.sql(f"SELECT answer FROM before_{role}") == [{"answer": 42}]


def test_no_token_is_in_a_log_an_argument_or_an_environment(deployment: Deployment) -> None:
    for container in deployment.containers:
        shown = container.log_text() + json.dumps(container.inspect())
        for process in container.processes():
            shown += (process / "cmdline").read_text() + (process / "environ").read_text()
        assert "AZQUACK_ROLE" in shown
        assert not [name for name, token in deployment.tokens.items() if token in shown]


def test_sigterm_ends_both_with_code_0(deployment: Deployment) -> None:
    assert deployment.query.stop() == 0, deployment.query.log_text()[-4000:]
    assert deployment.catalog.stop() == 0, deployment.catalog.log_text()[-4000:]
