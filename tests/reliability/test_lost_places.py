"""A place of a lake is taken away while it serves: what was acknowledged stays, and every file that is needed."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.cluster import remote, wait_until
from tests.reliability import table
from tests.reliability.conftest import ROUNDS
from tests.reliability.deployments import ADOPT, RESTORE, Deployment, OnAzurite, OnLocalFiles
from tests.reliability.ledger import Gateway, Writers
from tests.reliability.places import Place, Way
from tests.reliability.table import Row
from tests.standins.azurite import Azurite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
NAMES = (
    "catalog directory",
    "newest epoch's file",
    "lease",
    "data path's mark",
    "newest backup",
    "backup place",
)
FEWER = max(1, ROUNDS // 3)
# A writer adds so many rows at once, every other time: more than stay in the catalog, so they are Parquet.
MANY = 20
BRING_BACK = "bring it back"
# Everything goes that may go.
MAINTAIN: dict[str, object] = {"keep_snapshots": 0.001, "keep_files": 0}


class Appenders(Writers):
    """Writers of single rows and of many; when each was acknowledged, by the clock that dates backups too."""

    def __init__(self, deployment: Deployment, first: int) -> None:
        super().__init__(Gateway(f"quack:127.0.0.1:{deployment.query.port}"), deployment.directory / "home")
        self._next = iter(range(first, 10**9))
        self.acknowledged: dict[int, float] = {}
        self.tried: set[int] = set()

    def _write_rows(self) -> None:
        for connection in self._connections():
            for turn in range(10**9):
                if self._stop.is_set():
                    return
                with self._lock:
                    values = [next(self._next) for _ in range(MANY if turn % 2 else 1)]
                self.tried.update(values)
                rows = f"FROM range({values[0]}, {values[-1] + 1})"
                if not self._did(connection, remote(f"INSERT INTO written {rows}")):
                    break
                self.acknowledged |= dict.fromkeys(values, time.time())


class Model:
    """What the lake must hold, and when that was acknowledged; `tried` is what it may hold."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.must: dict[int, float] = {}
        self.tried: set[int] = set()
        self.statements = 0
        self.lake = self.story = ""
        # Backups that were away while newer ones were taken and the lake was maintained: nobody knew of them then.
        self.away: set[str] = set()

    def begin(self) -> None:
        """Make the lake, with rows and a backup."""
        assert self.deployment.start() == ""
        self._load(lambda: None)
        self.deployment.end(kill=False)
        manifests = [each for name, each in self.deployment.backups().items() if name.endswith(".json")]
        self.lake = json.loads(manifests[0])["lake"]

    def round(self, name: str, way: Way, other: OnLocalFiles, dice: random.Random) -> None:
        """One loss, and what follows; the lake is down before and after it."""
        deployment, kill = self.deployment, dice.random() < 0.5
        self.story = f"{name}: {way}; {'kill -9' if kill else 'restart'}"
        deployment.remember()
        before = set(self.must)
        assert deployment.start() == ""
        lost: list[Any] = []

        def lose() -> None:
            place, there = deployment.places(other)[name], set(deployment.manifests())
            lost[:] = [place, time.time()]
            place.lose(way)
            if way is not Way.OTHER:
                self.away |= there - set(deployment.manifests())

        self._load(lose)
        place, since = lost
        deployment.end(kill=kill)
        must = set(self.must)
        said = deployment.start()
        while said:
            self.story += f"\nrefused: {said}"
            deployment.end(kill=True)
            must &= self._go_on(said, name, place, before, dice)
            said = deployment.start()
        if name in NAMES[:2] and isinstance(deployment, OnAzurite):
            # An owner whose lease is a blob looks at its own file at each renewal, not before each answer.
            must -= {value for value, at in self.must.items() if at >= since}
        self._compare(must)
        self._maintain()
        self._compare(must)
        checked = deployment.run("check", "--json")
        assert checked.returncode == 0, f"{self.story}\n{checked.stdout}{checked.stderr}"
        self._no_backup_lacks_a_file()
        deployment.end(kill=False)

    def _load(self, lose: Callable[[], None]) -> None:
        """Write until a backup has some of it, then have something lost, and write and maintain on."""
        deployment = self.deployment
        writers = Appenders(deployment, max(self.tried, default=0) + 1)
        with writers.writing() as ledger:
            wait_until(
                lambda: len(writers.acknowledged) > 2 * MANY, "too little was acknowledged", timeout=60
            )
            now = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
            wait_until(
                lambda: max(deployment.manifests(), default="") > now,
                lambda: f"no backup since {now}:\n{deployment.log_text()}", timeout=60,
            )  # fmt: skip
            ledger.wait_for_success()
            lose()
            ended = len(ledger.errors) + len(ledger.successes)
            wait_until(
                lambda: len(ledger.errors) + len(ledger.successes) > ended + 2,
                "no statement came to its end after the loss", timeout=90,
            )  # fmt: skip
            deployment.run("maintain", **MAINTAIN)
        self.must |= writers.acknowledged
        self.tried |= writers.tried
        self.statements += len(ledger.successes)

    def _go_on(self, said: str, name: str, place: Place, before: set[int], dice: random.Random) -> set[int]:
        """Take one of the ways on that the refusal `said` names; what must be there then."""
        ways = [*(way for way in (RESTORE, ADOPT) if way in said), BRING_BACK]
        dice.shuffle(ways)
        must = set(self.must)
        if damaged := re.search(r"the lease (\S+) is damaged", said):
            Path(damaged[1]).unlink()
            return must
        for way in ways:
            newest = self._newest()
            done, answer = (place.bring_back(), "") if way == BRING_BACK else self._act(way)
            self.story += f"\n{way}: {answer.strip() or done}"
            if done and way == RESTORE and newest is not None:
                return {value for value, at in self.must.items() if at < newest}
            if done:
                # What is adopted of a catalog that was lost is the file before it, or an older one.
                return before if way == ADOPT and name in NAMES[:2] else must
        raise AssertionError(f"no way on led on:\n{self.story}")

    def _act(self, way: str) -> tuple[bool, str]:
        """Run `azquack …`; whether it was done, and what it said. A lease of a killed owner is waited for."""
        words = [*way.split()[1:], *(["--yes"] if way == RESTORE else [])]
        deadline = time.monotonic() + 60
        while True:
            finished = self.deployment.run(*words)
            if "in use" not in finished.stderr or time.monotonic() > deadline:
                return finished.returncode == 0, finished.stdout + finished.stderr

    def _newest(self) -> float | None:
        """When the newest whole backup of the lake was taken; None when there is none."""
        return max(self._whole(), default=(0, 0, 0, None))[-1]

    def _whole(self) -> list[tuple[int, int, int, float]]:
        """The whole backups of the lake: epoch, snapshot, sequence and time of each."""
        files, found = self.deployment.backups(), []
        for name in (each for each in files if each.endswith(".json")):
            try:
                values = json.loads(files[name])
                data = files[name.replace(".json", ".duckdb.gz")]
                if hashlib.sha256(data).hexdigest() != values["sha256"] or self.lake not in (
                    "",
                    values["lake"],
                ):
                    continue
            except (ValueError, KeyError):
                continue
            at = datetime.fromisoformat(values["time"]).timestamp()
            found.append((values["epoch"], values["snapshot"], values["sequence"], at))
        return found

    def _maintain(self) -> None:
        done = self.deployment.run("maintain", **MAINTAIN)
        # A damaged backup, or another lake's, is a reason to delete nothing, and to say so.
        assert done.returncode == 0 or "nothing is deleted" in done.stdout, (
            f"{self.story}\n{done.stdout}{done.stderr}"
        )

    def _compare(self, must: set[int]) -> None:
        """Hold the rows against what must and may be there; what is there must stay from then on."""
        writers = Appenders(self.deployment, 0)
        with writers.connected() as connection:
            counted = connection.execute(remote("SELECT i, count(*) FROM written GROUP BY i")).fetchall()
        values = {int(value) for value, _ in counted}
        lost, strange = must - values, values - self.tried
        doubled = [value for value, count in counted if count > 1]
        found = f"{len(lost)} lost ({sorted(lost)[:5]}), {len(strange)} strange, {len(doubled)} doubled"
        wrong = lost or strange or doubled
        assert not wrong, f"{found}\n{self.story}\n{self.deployment.log_text()}"
        assert writers.compare().torn == 0, self.story
        self.must = dict.fromkeys(values, 0.0)

    def _no_backup_lacks_a_file(self) -> None:
        """Every file that a whole backup of this lake names is there."""
        present = self.deployment.data_files()
        for name, data in self.deployment.backups().items():
            try:
                content = gzip.decompress(data) if name.endswith(".gz") else b""
            except (OSError, EOFError):
                continue
            if not content or name.replace(".duckdb.gz", ".json") in self.away:
                continue
            scratch = self.deployment.directory / "scratch.duckdb"
            scratch.write_bytes(content)
            with duckdb.connect(str(scratch), read_only=True) as connection:
                if connection.execute("SELECT id FROM azquack_lake").fetchall() != [(self.lake,)]:
                    continue
                named = connection.execute(
                    "SELECT path FROM ducklake_data_file UNION ALL SELECT path FROM ducklake_delete_file"
                ).fetchall()
            lacks = {str(path).rpartition("/")[2] for (path,) in named} - present
            assert not lacks, f"{len(lacks)} files that the backup {name} names are gone\n{self.story}"


@pytest.fixture
def other(tmp_path: Path) -> OnLocalFiles:
    """Another lake, which stands still."""
    deployment = OnLocalFiles(tmp_path / "other")
    try:
        Model(deployment).begin()
    finally:
        deployment.end(kill=True)
    return deployment


def rounds(deployment: Deployment, other: OnLocalFiles, seed: int, where: str) -> Row:
    """So many losses in one lake: every place in every way, in a random order, and again."""
    dice, row = random.Random(seed), Row(f"a place of the lake lost: {where}")
    cases: list[tuple[str, Way]] = []
    model = Model(deployment)
    try:
        model.begin()
        for _ in range(FEWER):
            if not cases:
                cases = [(name, way) for name in NAMES for way in Way]
                dice.shuffle(cases)
            model.round(*cases.pop(), other, dice)
            row.rounds += 1
            print(f"{row.rounds}. {model.story}")
    except Exception:
        print(model.story)
        raise
    finally:
        deployment.end(kill=True)
    row.acknowledged = model.statements
    return row


def test_on_local_files(
    other: OnLocalFiles, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    deployment = OnLocalFiles(tmp_path / "lake")
    record_property(table.PROPERTY, asdict(rounds(deployment, other, 4712, "local files")))


def test_on_azurite(
    other: OnLocalFiles, tmp_path: Path, azurite: Azurite, container: str,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    deployment = OnAzurite(tmp_path / "lake", azurite, container)
    record_property(table.PROPERTY, asdict(rounds(deployment, other, 4711, "a lease on a blob")))
