"""The container image, built from the unmodified Dockerfile and run as Container Apps would.

Root file system read-only, user 1000, 1 GiB, no network but a loopback on which Blob Storage (Azurite over TLS
with OAuth), the identity endpoint and Key Vault stand. Azure Files is a mounted directory.
"""

from __future__ import annotations

import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from xml.etree import ElementTree

import pytest

from tests.cluster import wait_until
from tests.image.containers import ROOT, missing, run
from tests.image.deployment import CATALOG_HTTP, QUERY_PORT, SECOND_HTTP, Deployment, build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


# Seconds that an identity token lives.
LIFE = 20.0
SECRET_OF_THE_BUILDER = "a-token-that-lay-about-where-the-image-was-built"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, built once."""
    if why := missing():
        pytest.skip(f"the image is not built: {why}")
    return build(tmp_path_factory.mktemp("source"), SECRET_OF_THE_BUILDER)


@pytest.fixture(scope="module")
def deployment(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose identity tokens live for 20 seconds: each test meets several refreshes."""
    made = Deployment(tmp_path_factory.mktemp("deployment"), life=LIFE, backup_every=5)
    try:
        made.start()
        yield made
    finally:
        made.destroy()


@contextmanager
def writing(deployment: Deployment, table: str) -> Iterator[Callable[[], int]]:
    """One row after another goes to Blob Storage; gives how many have been acknowledged.

    Fails at the end when a row was refused, lost or written twice.
    """
    stop, written = Event(), 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            deployment.sql(f"INSERT INTO {table} SELECT {written}, range FROM range(1000)")
            written += 1

    deployment.sql(f"CREATE TABLE {table} (batch INTEGER, i BIGINT)")
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            wait_until(lambda: written or writer.done(), "no row was written at first")
            yield lambda: written
        finally:
            stop.set()
            writer.result(180)
    assert deployment.sql(f"SELECT count(DISTINCT batch) AS batches, count(*) AS n FROM {table}") == [
        {"batches": written, "n": written * 1000}
    ]


def test_the_image_says_what_it_is(image: str) -> None:
    (found,) = json.loads(run("podman", "inspect", image))
    assert found["User"] == "1000:1000"
    assert found["Labels"]["org.opencontainers.image.title"] == "AzQuack"
    assert found["Labels"]["org.opencontainers.image.revision"]
    assert found["Config"]["Entrypoint"] == ["azquack"]
    assert found["Config"]["StopSignal"] == "SIGTERM"


def test_it_runs_without_rights(deployment: Deployment) -> None:
    for container in deployment.containers:
        assert container.inspect()["HostConfig"]["ReadonlyRootfs"] is True
        for process in container.processes():
            status = (process / "status").read_text()
            assert "\nUid:\t1000\t1000\t1000\t1000\n" in status
            assert "\nCapEff:\t0000000000000000\n" in status


def test_rows_go_to_blob_storage_and_come_back(deployment: Deployment) -> None:
    deployment.sql("CREATE TABLE in_blobs AS SELECT range AS i FROM range(100000)")
    assert deployment.sql("SELECT count(*) AS n, sum(i)::BIGINT AS s FROM in_blobs") == [
        {"n": 100000, "s": 4999950000}
    ]
    files = deployment.sql("SELECT DISTINCT filename FROM in_blobs")
    assert files
    assert all(each["filename"].startswith("az://lake/lake/") for each in files)


def test_sessions_stay_whole_over_two_nodes(deployment: Deployment) -> None:
    done = deployment.python(
        ROOT / "scripts" / "validate-sessions.py", "--uri", f"quack:127.0.0.1:{QUERY_PORT}",
        "--sessions", "8", "--rounds", "3",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + deployment.log_text()
    assert "8 of 8 sessions stayed whole" in done.stdout
    nodes = {line["node"] for line in audit(deployment) if line.get("node")}
    assert len(nodes) == 2, f"the sessions were on {nodes}"


def audit(deployment: Deployment) -> list[dict[str, object]]:
    """The audit log of the query app, as Log Analytics would get it."""
    lines = [line for line in deployment.query.log_text().splitlines() if line.startswith("{")]
    return [parsed for parsed in map(json.loads, lines) if parsed.get("event") in ("start", "finish")]


def test_the_catalog_backs_itself_up_into_its_container(deployment: Deployment) -> None:
    deployment.sql("CREATE TABLE to_be_backed_up (i INTEGER)")
    wait_until(
        lambda: '"message": "backed up"' in deployment.catalog.log_text(),
        lambda: f"no backup was taken:\n{deployment.log_text()}",
    )


def test_the_maintenance_job_does_its_work(deployment: Deployment) -> None:
    deployment.sql("CREATE TABLE in_pieces (i INTEGER)")
    for number in range(4):
        deployment.sql(f"INSERT INTO in_pieces SELECT {number} FROM range(1000)")
    files = "SELECT count(*) AS n FROM ducklake_list_files('lake', 'in_pieces')"
    assert deployment.sql(files) == [{"n": 4}]
    job = deployment.container("maintenance", arguments=("maintain",))
    done = job.finish()
    assert done.returncode == 0, done.stdout + done.stderr + deployment.log_text()
    assert deployment.sql(files) == [{"n": 1}], done.stdout
    assert deployment.sql("SELECT count(*) AS n, sum(i)::BIGINT AS s FROM in_pieces") == [
        {"n": 4000, "s": 6000}
    ]


def test_the_restore_job_brings_a_dropped_table_back(deployment: Deployment) -> None:
    deployment.sql("CREATE TABLE dropped AS SELECT 42 AS answer")
    job = deployment.restore_job(at="2999-01-01")
    refused = job.finish()
    assert refused.returncode != 0, "it restored beneath a catalog that serves"
    assert deployment.catalog.stop() == 0  # with a last backup
    before = datetime.now(UTC).isoformat()
    deployment.catalog.restart()
    deployment.wait_until_ready()
    deployment.sql("DROP TABLE dropped")
    for container in reversed(deployment.containers):
        assert container.stop() == 0
    done = deployment.restore_job(at=before).finish()
    assert done.returncode == 0, done.stdout + done.stderr
    for container in deployment.containers:
        container.restart()
    deployment.wait_until_ready()
    assert deployment.sql("SELECT answer FROM dropped") == [{"answer": 42}]


def test_the_suite_of_the_local_pair_passes(deployment: Deployment, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    arguments = ("-q", "-p", "no:cacheprovider", "-m", "not slow", f"--junit-xml={report}")
    done = deployment.python("-m", "pytest", *arguments, "tests", timeout=800, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-6000:] + deployment.log_text()
    passed, skipped = Counter[str](), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  pytest's own report
        if (skip := case.find("skipped")) is None:
            passed[str(case.get("classname"))] += 1
        else:
            skipped[str(skip.get("message"))] += 1
    print(*(f"passed  {number:4} of {module}" for module, number in passed.items()), sep="\n")
    print(*(f"skipped {number:4}: {why}" for why, number in skipped.most_common()), sep="\n")
    for module in ("test_flights", "test_concurrent", "test_clients", "test_lake_features"):
        assert passed[f"tests.{module}"], f"nothing of {module} ran against the image"


@pytest.mark.parametrize("role", ["catalog", "query"])
def test_a_killed_container_comes_back_with_every_row(deployment: Deployment, role: str) -> None:
    deployment.sql(f"CREATE TABLE before_{role} AS SELECT 42 AS answer")
    container = getattr(deployment, role)
    container.kill()
    container.restart()
    deployment.wait_until_ready()
    assert deployment.sql(f"SELECT answer FROM before_{role}") == [{"answer": 42}]


def test_a_new_revision_stands_by_until_the_old_one_has_gone(deployment: Deployment) -> None:
    deployment.sql("CREATE TABLE before_the_deploy AS SELECT 42 AS answer")
    state = deployment.status(CATALOG_HTTP)
    assert state["standby"] is False
    successor = deployment.second_catalog()
    try:
        successor.start()
        wait_until(lambda: deployment.is_ready(SECOND_HTTP), "the new revision is not ready", 60)
        assert deployment.status(SECOND_HTTP)["standby"] is True
        assert deployment.catalog.stop() == 0
        wait_until(
            lambda: deployment.is_ready(SECOND_HTTP) and not deployment.status(SECOND_HTTP)["standby"],
            lambda: f"the new revision did not take over:\n{successor.log_text()}",
            timeout=60,
        )
        assert deployment.status(SECOND_HTTP)["epoch"] == state["epoch"] + 1
        assert successor.stop() == 0
    finally:
        successor.remove()
    # The query app looks at the old one's address only; in Azure both have the app's.
    deployment.catalog.restart()
    deployment.wait_until_ready()
    assert deployment.sql("SELECT answer FROM before_the_deploy") == [{"answer": 42}]


@pytest.mark.parametrize("trouble", [429, 503, "silent"])
def test_writers_ride_out_an_identity_endpoint_in_trouble(deployment: Deployment, trouble: int | str) -> None:
    with writing(deployment, f"in_trouble_{trouble}") as written:
        asked = deployment.azure(identity=trouble)["storage"]
        # With tokens of 20 seconds the old one is soon of no use, and the writer has to wait for a new one.
        wait_until(
            lambda: deployment.azure()["storage"] >= asked + 3, "nobody asked for a token anew", timeout=60
        )
        before = written()
        deployment.azure(identity="well")
        wait_until(
            lambda: written() > before,
            lambda: f"no row was written afterwards:\n{deployment.log_text()}",
            timeout=60,
        )


def test_writes_and_the_vault_go_on_while_tokens_expire(deployment: Deployment) -> None:
    # A node asks anew at half of a token's life: twelve times in six lives, which are six hours of real tokens.
    began, lives = deployment.azure(), time.monotonic() + 6 * LIFE
    with writing(deployment, "through_refreshes"):
        wait_until(
            lambda: time.monotonic() > lives and deployment.azure()["storage"] >= began["storage"] + 12,
            "the nodes stopped to ask for tokens",
            timeout=9 * LIFE,
        )
    assert deployment.azure()["vault"] > began["vault"], "the vault's principals were not read anew"


def test_no_token_is_in_a_log_a_file_or_a_process_list(deployment: Deployment) -> None:
    # JWTs, which the identity endpoint gives, begin with one of the last two.
    hidden = [*(token.encode() for token in deployment.tokens.values()), b"eyJ0eXAi", b"eyJhbGci"]

    def holds(content: bytes) -> bool:
        return any(each in content for each in hidden)

    for container in deployment.containers:
        log = container.log_text()
        assert '"event": "ready"' in log, f"{container.name} wrote no log to look through"
        assert not holds(log.encode()), f"the log of {container.name} holds a token"
        assert not holds(json.dumps(container.inspect()).encode()), (
            f"podman knows a token of {container.name}"
        )
        for process in container.processes():
            environment = process / "environ"
            content = _read(environment)
            # A backup run may have ended meanwhile.
            assert b"AZQUACK_ROLE" in content or not process.exists()
            assert not holds(content), f"{environment} holds a token"
            seen = run("setpriv", "--reuid=65534", "--clear-groups", "cat", environment, check=False)
            assert seen == "", f"another user can read {environment}"
    assert [path for path in Path("/proc").glob("[0-9]*/cmdline") if holds(_read(path))] == []
    kept = [path for path in deployment.share.rglob("*") if path.is_file()]
    assert kept, "the share is empty"
    assert [path for path in kept if holds(path.read_bytes())] == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has ended
        return b""


def test_no_layer_holds_a_secret_or_the_sources(image: str, tmp_path: Path) -> None:
    secret = SECRET_OF_THE_BUILDER.encode()
    archive = tmp_path / "image.tar"
    run("podman", "save", "--quiet", "--output", archive, image, timeout=300)
    names = []
    with tarfile.open(archive) as parts:
        for part in parts:
            content = parts.extractfile(part)
            if content is None:
                continue
            if not tarfile.is_tarfile(content):  # what the image says of itself, and how it was made
                content.seek(0)
                assert secret not in content.read(), part.name
                continue
            content.seek(0)
            with tarfile.open(fileobj=content) as layer:
                for member in layer:
                    names.append(member.name)
                    file = layer.extractfile(member) if member.isfile() else None
                    assert file is None or secret not in file.read(), member.name
    assert any(name.endswith("/azquack/replicas/supervisor.py") for name in names), (
        "no layer was looked through"
    )
    assert [name for name in names if Path(name).name in (".env", "id_rsa") or name.startswith("src/")] == []


def test_sigterm_ends_all_with_code_0(deployment: Deployment) -> None:
    for container in reversed(deployment.containers):
        assert container.stop() == 0, container.log_text()[-4000:]
