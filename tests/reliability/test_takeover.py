"""Two catalogs on one directory: one owns it, the other takes over, however the first one went."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster import wait_until
from tests.reliability.conftest import ROUNDS, Lake
from tests.reliability.replicas import Replica
from tests.reliability.table import Row
from tests.standins.azurite import Azurite

WAYS = ("graceful", "kill -9", "paused, woken up late")


def take_over(lake: Lake, way: str) -> None:
    """One change of owners."""
    owner, standby = owner_and_standby(lake)
    before = owner.status()["epoch"]
    # The platform sends new connections to the other replica.
    lake.line.route(standby.port)
    if way == "graceful":
        assert owner.stop() == 0
    elif way == "kill -9":
        owner.kill()
    else:
        owner.pause()
    wait_until(lambda: standby.owns, lambda: f"nobody took over:\n{lake.log_text()}", timeout=60)
    assert standby.status()["epoch"] > before
    if way == "paused, woken up late":
        owner.resume()
        wait_until(
            lambda: owner.status().get("standby"), lambda: f"two owners:\n{lake.log_text()}", timeout=60
        )
    else:
        owner.begin()
        owner.wait_for("standby")


def owner_and_standby(lake: Lake) -> tuple[Replica, Replica]:
    """The owner first."""
    first, second = lake.catalogs
    return (first, second) if first.owns else (second, first)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("way", WAYS)
def test_a_standby_takes_over_and_nothing_is_lost(way: str, lake: Lake, run: Callable[..., Row]) -> None:
    lake.start()
    lake.catalogs[1].begin()
    lake.catalogs[1].wait_for("standby")

    run(lake, f"takeover: {way}", ROUNDS // len(WAYS) + 1, lambda _: take_over(lake, way))
    if way == "graceful":
        assert lake.writers.ledger.errors == [], "an orderly change of owners is a pause and nothing else"
    owner, standby = owner_and_standby(lake)
    assert owner.owns
    assert not standby.owns
    assert owner.stop() == 0
    assert standby.owns or wait_until(lambda: standby.owns, "the last standby did not take over")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("way", ["kill -9", "paused, woken up late"])
def test_a_lease_on_a_blob_has_one_owner_too(
    way: str, azurite: Azurite, container: str, lakes: Callable[..., Lake], run: Callable[..., Row]
) -> None:
    lake = lakes(
        lease=f"az://{container}/catalog", lease_seconds=15, azure_connection_string=azurite.connection_string
    )
    lake.start()
    lake.catalogs[1].begin()
    lake.catalogs[1].wait_for("standby")
    # Azure's shortest lease is 15 seconds, and nobody else can end it.
    run(lake, f"takeover of a blob's lease: {way}", max(1, ROUNDS // 20), lambda _: take_over(lake, way))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_rolling_restart_of_the_query_replica(lake: Lake, run: Callable[..., Row]) -> None:
    lake.start()

    def restart(_: int) -> None:
        assert lake.query.stop() == 0
        lake.query.start()

    run(lake, "orderly restart of the query replica", max(1, ROUNDS // 5), restart)
    # Sessions end with their node; whoever had one is told what to do.
    sentences = ("DETACH it and ATTACH it again", "Connection refused", "Could not", "again")
    unhelpful = [each for each in lake.writers.ledger.errors if not any(s in each for s in sentences)]
    assert unhelpful == []
