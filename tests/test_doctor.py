"""`azquack doctor`: what is wrong is one list, in whatever state machine, settings, lake and pair are."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import trustme

from azquack.catalog import epochs
from azquack.cli.diagnosis import deployment, lake, machine, settings
from azquack.cli.diagnosis.finding import Diagnosis, Level
from azquack.cli.site import described
from azquack.config.settings import Settings
from azquack.lake import extensions
from azquack.lake.client import TOKEN_VARIABLE
from azquack.replicas.local import Running
from tests.cluster import TempPair

TOKENS = {"public_token": "a-public-token-of-tests", "internal_token": "an-internal-token-of-tests"}


def doctor(*arguments: str, cwd: Path, **env: str) -> tuple[int, dict[str, Any]]:
    """The exit code of the command, and what it says as JSON."""
    finished = subprocess.run(
        [sys.executable, "-m", "azquack", "doctor", "--json", *arguments],
        cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in finished.stderr
    return finished.returncode, json.loads(finished.stdout)


def found(diagnosis: Diagnosis, about: str) -> list[str]:
    """The problems of the part `about`."""
    return [each.problem for each in diagnosis.findings if each.about == about]


def test_where_there_is_no_lake_a_well_machine_has_no_finding(tmp_path: Path) -> None:
    code, said = doctor("--port", "0", cwd=tmp_path)
    assert (code, said["findings"]) == (0, [])
    assert {"settings", "DuckDB", "DuckDB's extensions", "memory"} <= set(said["examined"])
    assert not list(tmp_path.iterdir())


def test_a_lake_that_was_named_and_is_not_there_is_a_finding(tmp_path: Path) -> None:
    code, said = doctor("--port", "0", "--dir", "here", cwd=tmp_path)
    assert code == 1
    assert [each["about"] for each in said["findings"]] == ["lake"]


def test_every_mistake_in_the_settings_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AZQUACK_LOG_LEVEL=loud\nAZQUACK_PUBLIC_ROLE=queen\n")
    code, said = doctor(cwd=tmp_path, AZQUACK_PORTT="1", AZQUACK_PORT="many")
    assert code == 1
    problems = [each["problem"] for each in said["findings"]]
    for name in ("LOG_LEVEL", "PUBLIC_ROLE", "PORTT", "PORT"):
        assert sum(f"AZQUACK_{name} " in each for each in problems) == 1


def test_a_secret_shows_in_no_finding(tmp_path: Path) -> None:
    secret = "hidden hidden hidden"
    _, said = doctor(cwd=tmp_path, AZQUACK_PUBLIC_TOKEN=secret, AZQUACK_S3_SECRET=secret, AZQUACK_PORT="x")
    assert said["findings"]
    assert "hidden" not in json.dumps(said)


class Wrong:
    """Settings of which one part is wrong; each method makes them in the directory `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def token_that_is_too_short(self) -> dict[str, Any]:
        return {"public_token": "short"}

    def token_that_everybody_may_read(self) -> dict[str, Any]:
        for name in ("public-token", "internal-token"):
            (self.home / name).write_text("a-token-that-is-long-enough")
            (self.home / name).chmod(0o644)
        return {"token_source": "file", "token_dir": self.home}

    def token_names_that_are_one(self) -> dict[str, Any]:
        return {"public_token_name": "token", "internal_token_name": "token"}

    def token_of_no_vault(self) -> dict[str, Any]:
        return {"token_source": "keyvault"}

    def token_beside_broken_principals(self) -> dict[str, Any]:
        return {"principals": '{"principals": ['}

    def storage_that_nobody_knows(self) -> dict[str, Any]:
        return {"data_path": "ftp://somewhere"}

    def backups_that_nobody_can_take(self) -> dict[str, Any]:
        return {"backup_to": "ftp://somewhere"}

    def lease_that_is_no_lease(self) -> dict[str, Any]:
        return {"catalog_dir": self.home, "lease": "s3://bucket/lease"}

    def TLS_certificate_that_has_ended(self) -> dict[str, Any]:
        return self._certificate(datetime.now(UTC) - timedelta(days=1))

    def TLS_certificate_that_ends_soon(self) -> dict[str, Any]:
        return self._certificate(datetime.now(UTC) + timedelta(days=3))

    def TLS_key_of_another(self) -> dict[str, Any]:
        (self.home / "other").mkdir()
        return self._certificate(None) | {"tls_key": Wrong(self.home / "other")._certificate(None)["tls_key"]}

    def TLS_file_that_is_gone(self) -> dict[str, Any]:
        return {"tls_cert": self.home / "nowhere.pem"}

    def _certificate(self, ends: datetime | None) -> dict[str, Any]:
        made = trustme.CA().issue_cert("localhost", not_after=ends)
        made.private_key_pem.write_to_path(self.home / "key.pem")
        for number, each in enumerate(made.cert_chain_pems):
            each.write_to_path(self.home / "cert.pem", append=number > 0)
        return {"tls_cert": self.home / "cert.pem", "tls_key": self.home / "key.pem"}


PARTS = {"token": "tokens", "storage": "storage", "backups": "backups", "lease": "lease", "TLS": "TLS"}


@pytest.mark.parametrize("name", [each for each in vars(Wrong) if not each.startswith("_")])
def test_a_part_that_a_start_would_refuse_is_one_finding(name: str, tmp_path: Path) -> None:
    made = Settings.model_validate(TOKENS | getattr(Wrong(tmp_path), name)())
    diagnosis = Diagnosis()
    settings.examine(diagnosis, made)
    [finding] = diagnosis.findings
    assert finding.about == PARTS[name.split("_")[0]]
    assert finding.advice
    assert finding.level is (Level.WARNING if "soon" in name else Level.ERROR)


def test_a_taken_port_is_a_finding() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        diagnosis = Diagnosis()
        settings.examine_port(diagnosis, Settings(port=taken.getsockname()[1]))
    assert len(found(diagnosis, "port")) == 1


def test_more_memory_than_there_is_and_more_connections_than_files_are_findings() -> None:
    diagnosis = Diagnosis()
    machine.examine(diagnosis, Settings(memory_limit="900TiB", connections_limit=10_000_000))
    assert [each.about for each in diagnosis.findings] == ["memory", "open files"]


def test_an_extension_of_another_version_or_with_a_damaged_file_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "duckdb_extension_quack" / "extensions" / f"v{duckdb.__version__}"
    own.mkdir(parents=True)
    (own / "quack.duckdb_extension").write_bytes(extensions.file_of("quack").read_bytes()[:100_000])
    (tmp_path / "duckdb_extension_quack" / "__init__.py").touch()
    about = tmp_path / "duckdb_extension_quack-1.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: duckdb-extension-quack\nVersion: 1.0.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    diagnosis = Diagnosis()
    machine.examine(diagnosis, None)
    assert [each.about for each in diagnosis.findings] == ["DuckDB", "DuckDB's extensions"]
    assert "1.0.0" in diagnosis.findings[0].problem


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with rows, a backup and nobody who serves it."""
    home = tmp_path_factory.mktemp("doctor")
    with TempPair(home / "lake", "--demo") as pair:
        subprocess.run(
            [sys.executable, "-m", "azquack", "backup", "now", "--dir", str(home / "lake")], check=True
        )
        pair.stop()
    return home / "lake"


@pytest.fixture
def broken(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the stopped lake, to be broken."""
    return Path(shutil.copytree(stopped, tmp_path / "lake"))


def examined(directory: Path) -> Diagnosis:
    """What is wrong with the lake in `directory`."""
    diagnosis = Diagnosis()
    with diagnosis.examining("settings", "look at them"):
        site = described(directory, {})
        settings.examine(diagnosis, site.settings)
        lake.examine(diagnosis, site)
    return diagnosis


def contents(directory: Path) -> dict[str, tuple[int, str]]:
    """Every file, with when it was written and what it holds."""
    return {
        str(each.relative_to(directory)): (
            each.stat().st_mtime_ns,
            hashlib.sha256(each.read_bytes()).hexdigest(),
        )
        for each in directory.rglob("*")
        if each.is_file()
    }


def test_a_stopped_lake_is_examined_and_nothing_in_it_changes(broken: Path) -> None:
    before = contents(broken)
    code, said = doctor("--dir", str(broken), "--port", "0", cwd=broken.parent)
    assert (code, said["findings"]) == (0, [])
    assert {"lake", "metadata", "backups", "disks"} <= set(said["examined"])
    assert contents(broken) == before


def catalog_of(directory: Path) -> Path:
    return epochs.newest(directory / "catalog")


def tear(directory: Path) -> None:
    with duckdb.connect(str(catalog_of(directory))) as connection:
        connection.execute("DELETE FROM ducklake_snapshot_changes WHERE snapshot_id = 1")


def rename_lake(directory: Path) -> None:
    (directory / "data" / ".azquack").write_text('{"lake": "0123456789abcdef"}')


def damage_backup(directory: Path) -> None:
    next((directory / "catalog" / "backups").glob("*.json")).write_text("{")


@pytest.mark.parametrize(
    ("damage", "about", "word", "level"),
    [
        (lambda home: catalog_of(home).write_bytes(b"no database"), "lake", "cannot be read", Level.ERROR),
        (lambda home: catalog_of(home).unlink(), "lake", "holds no lake", Level.ERROR),
        (lambda home: shutil.rmtree(home / "data"), "lake", "mark", Level.ERROR),
        (rename_lake, "lake", "0123456789abcdef", Level.ERROR),
        (tear, "metadata", "torn-snapshot", Level.ERROR),
        (damage_backup, "backups", "damaged", Level.WARNING),
        (lambda home: shutil.rmtree(home / "catalog" / "backups"), "backups", "no backup", Level.WARNING),
    ],
    ids=["garbage", "gone", "no-data", "other-lake", "torn", "bad-backup", "no-backup"],
)
def test_what_is_broken_in_a_lake_is_a_finding_about_that_part(
    broken: Path, damage: Callable[[Path], object], about: str, word: str, level: Level
) -> None:
    damage(broken)
    diagnosis = examined(broken)
    assert any(word in each for each in found(diagnosis, about)), diagnosis.findings
    assert {each.level for each in diagnosis.findings} == {level}


def test_a_data_file_that_is_gone_is_a_finding(stopped: Path, tmp_path: Path) -> None:
    file = next((stopped / "data").rglob("*.parquet"))
    file.rename(tmp_path / "kept")
    try:
        assert len(found(examined(stopped), "metadata")) == 1
    finally:
        (tmp_path / "kept").rename(file)


def spoilings() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Ways to spoil a file."""

    def make_directory(file: Path) -> None:
        file.unlink()
        file.mkdir()

    yield "emptied", lambda file: file.write_bytes(b"")
    yield "garbage", lambda file: file.write_bytes(os.urandom(5000))
    yield "cut", lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    yield "text", lambda file: file.write_text('{"lake": [], "pid": "x", "principals": 3}')
    yield "directory", make_directory
    yield "gone", lambda file: file.unlink()


def spoil(stopped: Path, scratch: Path, rounds: int) -> None:
    files = sorted(str(each.relative_to(stopped)) for each in stopped.rglob("*") if each.is_file())
    ways = [(file, *spoiling) for file in files for spoiling in spoilings()]
    failed = []
    for file, name, spoiling in random.sample(ways, min(rounds, len(ways))):
        shutil.rmtree(scratch / "lake", ignore_errors=True)
        shutil.copytree(stopped, scratch / "lake")
        spoiling(scratch / "lake" / file)
        try:
            assert all(each.advice for each in examined(scratch / "lake").findings)
        except Exception as error:
            failed.append(f"{file} {name}: {error!r}")
    assert failed == []


def test_no_spoiled_file_of_a_lake_ends_the_examination(stopped: Path, tmp_path: Path) -> None:
    spoil(stopped, tmp_path, 6)


@pytest.mark.slow
def test_no_spoiled_file_of_a_lake_ends_the_examination_whichever(stopped: Path, tmp_path: Path) -> None:
    spoil(stopped, tmp_path, 10_000)


def test_a_pair_that_is_up_has_no_finding_here_nor_from_elsewhere(pair: TempPair, tmp_path: Path) -> None:
    code, said = doctor("--dir", str(pair.directory), cwd=tmp_path)
    assert [each for each in said["findings"] if each["level"] == "error"] == []
    assert code == 0
    assert {"query replica", "catalog replica", "gateway", "clocks"} <= set(said["examined"])
    code, said = doctor("--uri", pair.uri, cwd=tmp_path, **{TOKEN_VARIABLE: pair.token})
    assert (code, said["findings"]) == (0, [])


def test_a_gateway_that_lets_nobody_in_or_is_not_there_is_a_finding(pair: TempPair, tmp_path: Path) -> None:
    for uri in (pair.uri, "quack:localhost:1"):
        code, said = doctor("--uri", uri, cwd=tmp_path, **{TOKEN_VARIABLE: "a-wrong-token-of-tests"})
        assert code == 1
        assert [each["about"] for each in said["findings"]] == ["gateway"]
        assert "a-wrong-token" not in json.dumps(said)


def test_replicas_that_do_not_answer_are_findings() -> None:
    nowhere = "http://127.0.0.1:1"
    running = Running("quack:localhost:1", "quack:localhost:1", nowhere, nowhere, 1, ".", "")
    diagnosis = Diagnosis()
    deployment.examine_pair(diagnosis, running, "up.log")
    assert [each.about for each in diagnosis.findings] == ["query replica", "catalog replica"]
    assert diagnosis.failed
