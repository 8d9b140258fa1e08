"""What the places of a lake say together: every combination, and what must hold in all of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from azquack.lake.state import (
    Action,
    BackupPlace,
    Catalog,
    DataPath,
    LeaseRecord,
    Places,
    Seen,
    judge,
    next_epoch,
)

OWN, OTHER = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"

CATALOGS = {
    "there": Catalog(Seen.THERE, "C", OWN, 5, 5, 50, files=True),
    "there, inlined rows only": Catalog(Seen.THERE, "C", OWN, 5, 5, 50),
    "missing": Catalog(Seen.MISSING, "C"),
    "empty": Catalog(Seen.EMPTY, "C", OWN, 1, 1),
    "of another lake": Catalog(Seen.THERE, "C", OTHER, 5, 5, 50, files=True),
    "older": Catalog(Seen.THERE, "C", OWN, 5, 5, 20, files=True),
    "of an older epoch": Catalog(Seen.THERE, "C", OWN, 2, 2, 60, files=True),
    "its newest epoch lost": Catalog(Seen.THERE, "C", OWN, 4, 4, 50, files=True, lost=(5,)),
    "newer": Catalog(Seen.THERE, "C", OWN, 9, 9, 90, files=True),
    "unreadable": Catalog(Seen.UNREADABLE, "C", number=5, problem="broken"),
    "from before the ids": Catalog(Seen.THERE, "C", "", 5, 0, 50, files=True),
    "adopted": Catalog(Seen.THERE, "C", OWN, 5, 5, 50, files=True, adopted=True),
}
DATA = {
    "there": DataPath(Seen.THERE, "D", OWN, marked=True, files=True, named=True),
    "missing": DataPath(Seen.MISSING, "D"),
    "empty": DataPath(Seen.EMPTY, "D"),
    "of another lake": DataPath(Seen.THERE, "D", OTHER, marked=True, files=True, named=False),
    "another lake's files, no mark": DataPath(Seen.THERE, "D", files=True, named=False),
    "unreadable": DataPath(Seen.UNREADABLE, "D", problem="broken"),
    "from before the ids": DataPath(Seen.THERE, "D", marked=True, files=True, named=True),
    "not looked at": DataPath(),
}
LEASES = {
    "there": LeaseRecord(Seen.THERE, "L", OWN, 5, 5),
    "missing": LeaseRecord(Seen.MISSING, "L"),
    "empty": LeaseRecord(Seen.EMPTY, "L"),
    "of another lake": LeaseRecord(Seen.THERE, "L", OTHER, 5, 5),
    "older": LeaseRecord(Seen.THERE, "L", OWN, 2, 2),
    "newer": LeaseRecord(Seen.THERE, "L", OWN, 7, 7),
    "taken, never served": LeaseRecord(Seen.THERE, "L", OWN, 7, 5),
    "unreadable": LeaseRecord(Seen.UNREADABLE, "L", problem="broken"),
    "from before the ids": LeaseRecord(Seen.THERE, "L", "", 5, -1),
}
BACKUPS = {
    "there": BackupPlace(Seen.THERE, "B", (OWN,), 5, 40),
    "missing": BackupPlace(Seen.MISSING, "B"),
    "empty": BackupPlace(Seen.EMPTY, "B"),
    "of another lake": BackupPlace(Seen.THERE, "B", (OTHER,), 1, 1),
    "of two lakes": BackupPlace(Seen.THERE, "B", (OWN, OTHER), 5, 40),
    "older": BackupPlace(Seen.THERE, "B", (OWN,), 3, 30),
    "newer": BackupPlace(Seen.THERE, "B", (OWN,), 8, 80),
    "unreadable": BackupPlace(Seen.UNREADABLE, "B", problem="broken"),
    "from before the ids": BackupPlace(Seen.THERE, "B", ("",), 0, 40),
}
TRACES = {"missing", "empty", "not looked at"}


def combinations() -> Iterator[tuple[str, Places]]:
    for names in itertools.product(CATALOGS, DATA, LEASES, BACKUPS):
        catalog, data, lease, backups = names
        yield (
            f"catalog {catalog}; data {data}; lease {lease}; backups {backups}",
            Places(CATALOGS[catalog], DATA[data], LEASES[lease], BACKUPS[backups]),
        )


ALL = list(combinations())


def refused(places: Places) -> bool:
    return judge(places).action is Action.REFUSE


def ids(places: Places) -> set[str]:
    named = {places.catalog.lake, places.data.lake, places.lease.lake, *places.backups.lakes}
    return named - {""}


def test_a_new_lake_is_made_only_where_nothing_is_anywhere() -> None:
    made = [name for name, places in ALL if judge(places).action is Action.CREATE]
    for name in made:
        catalog, data, lease, backups = (part.split(" ", 1)[1] for part in name.split("; "))
        assert catalog in ("missing", "empty"), name
        assert data in TRACES, name
        assert lease in TRACES, name
        assert backups in TRACES, name
    # And there it is made with no extra step.
    assert len(made) == 2 * 3 * 2 * 2


def test_a_lake_is_not_served_while_a_place_names_another() -> None:
    for name, places in ALL:
        if len(ids(places)) > 1:
            assert refused(places), name


def test_a_lake_is_not_served_while_a_place_knows_of_something_newer() -> None:
    for name, places in ALL:
        catalog = places.catalog
        older = (catalog.epoch, catalog.snapshot) < (places.backups.epoch, places.backups.snapshot)
        if older or places.lease.served > catalog.number or catalog.lost:
            assert refused(places), name


def test_a_catalog_that_nobody_can_read_is_not_served() -> None:
    for name, places in ALL:
        if places.catalog.seen is Seen.UNREADABLE:
            assert refused(places), name


def test_a_data_path_without_the_lakes_files_is_never_taken_for_its_own() -> None:
    for name, places in ALL:
        lost = places.data.seen in (Seen.MISSING, Seen.EMPTY, Seen.UNREADABLE) or places.data.named is False
        if places.catalog.seen is Seen.THERE and lost and places.data.lake != places.catalog.lake:
            assert refused(places), name


def test_a_number_never_goes_back() -> None:
    for name, places in ALL:
        seen = (places.catalog.number, places.catalog.epoch, *places.catalog.lost, places.lease.number)
        assert next_epoch(places) > max(*seen, places.lease.served, places.backups.epoch), name


def test_every_refusal_is_one_sentence_with_a_way_on() -> None:
    for name, places in ALL:
        verdict = judge(places)
        if verdict.action is Action.REFUSE:
            found, _, ways = verdict.sentence.partition(": ")
            assert found, name
            assert "azquack restore" in ways or "start again" in ways or "broken" in found + ways, name
            assert "\n" not in verdict.sentence, name
        else:
            assert verdict.sentence == "", name
            assert verdict.lake in ("", places.catalog.lake), name


def test_whatever_agrees_is_served_without_an_extra_step() -> None:
    def served(catalog: str, data: str, lease: str, backups: str) -> bool:
        verdict = judge(Places(CATALOGS[catalog], DATA[data], LEASES[lease], BACKUPS[backups]))
        return verdict.action is Action.SERVE

    whole = ("there", "there, inlined rows only", "newer", "adopted")
    for each in itertools.product(
        whole,
        ("there", "not looked at"),
        ("there", "missing", "empty", "older", "from before the ids"),
        ("there", "missing", "empty", "older", "from before the ids"),
    ):
        assert served(*each), each
    # A start that failed took a number and served nothing.
    assert served("there", "there", "taken, never served", "there")
    # The storage of the backups is away: the lease says that the catalog is the newest.
    assert served("there", "there", "there", "unreadable")
    assert not served("there", "there", "missing", "unreadable")
    # The first start after the upgrade.
    for each in itertools.product(
        ("from before the ids", "adopted"),
        ("from before the ids", "not looked at"),
        ("from before the ids", "missing", "empty"),
        ("from before the ids", "missing", "empty"),
    ):
        assert served(*each), each


@pytest.mark.parametrize(
    "lake",
    [
        Catalog(Seen.THERE, "C", "", 5, 0, 30, files=True),  # older than its newest backup
        Catalog(
            Seen.THERE, "C", "", 5, 0, 50, files=True, forked=True
        ),  # a backup's snapshot was never its own
    ],
)
def test_a_lake_from_before_the_ids_that_does_not_agree_is_refused(lake: Catalog) -> None:
    found = Places(
        lake, DATA["from before the ids"], LEASES["from before the ids"], BACKUPS["from before the ids"]
    )
    assert refused(found)


def test_the_marks_absence_is_no_loss_before_the_first_commit() -> None:
    """The query replica was killed between the making of the lake and that of the mark."""
    fresh = Catalog(Seen.THERE, "C", OWN, 1, 1, 0)
    for data in ("missing", "empty"):
        assert not refused(Places(fresh, DATA[data]))
    assert refused(Places(fresh, DATA["another lake's files, no mark"]))


def test_an_empty_catalog_is_its_own_lakes_only_until_it_has_lost_one() -> None:
    """A catalog replica that was up before any query replica starts again; one that lost its lake does not."""
    empty = Catalog(Seen.EMPTY, "C", OWN, 1, 1)
    assert judge(Places(empty, lease=LeaseRecord(Seen.THERE, "L", OWN, 1, 1))).action is Action.CREATE
    assert refused(Places(empty, lease=LeaseRecord(Seen.THERE, "L", OWN, 2, 2)))
    assert refused(Places(empty, DATA["there"]))


def test_places_cross_a_pipe_as_they_are() -> None:
    for _, places in ALL[::97]:
        assert Places.from_message(json.loads(json.dumps(places.to_message()))) == places
    with_witness = Places(backups=BackupPlace(Seen.THERE, "B", ("",), witness=(3, 1_700_000_000_000_000)))
    assert Places.from_message(json.loads(json.dumps(with_witness.to_message()))) == with_witness
