"""The places of a lake in Azure are taken away: lease, backups and data are blobs, the catalog is a directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from azquack.catalog import epochs
from azquack.lake import client, lake_id
from tests.cluster import wait_until
from tests.reliability.replicas import PUBLIC, Replica
from tests.standins.azurite import Azurite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def replicas(azurite: Azurite, container: str, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """A catalog and a query replica as a deployment runs them, not started yet."""
    shared = {"azure_connection_string": azurite.connection_string}
    catalog = Replica("catalog", "catalog", tmp_path, shared | {
        "catalog_dir": tmp_path / "catalog", "lease": f"az://{container}/lease/catalog",
        "backup_to": f"az://{container}/backups", "lease_seconds": 15,
    })  # fmt: skip
    query = Replica("query", "query", tmp_path, shared | {
        "catalog": f"quack:127.0.0.1:{catalog.port}", "data_path": f"az://{container}/lake/",
    })  # fmt: skip
    yield catalog, query
    for each in (query, catalog):
        each.kill()


def rows(query: Replica, statement: str) -> list[tuple[object, ...]]:
    gateway = client.Target(f"quack:127.0.0.1:{query.port}", SecretStr(PUBLIC), tls=False)
    with client.connection(gateway) as connection:
        return connection.execute(f"FROM lake.query($${statement}$$)").fetchall()


def refused(replica: Replica, sentence: str) -> None:
    replica.begin()
    wait_until(lambda: not replica.alive, f"{replica.name} did not end:\n{replica.log_text()}", timeout=120)
    assert replica.stop() == 1
    assert sentence in replica.log_text(), replica.log_text()


def test_no_place_of_a_deployment_is_made_anew_when_it_is_lost(
    replicas: tuple[Replica, Replica], azurite: Azurite, container: str, tmp_path: Path
) -> None:
    catalog, query = replicas
    blobs = azurite.client().get_container_client(container)
    catalog.start()
    query.start()
    rows(query, "CREATE TABLE kept AS SELECT range AS i FROM range(1000)")
    lake = lake_id.lake_in(blobs.download_blob(f"lake/{lake_id.MARK}").readall().decode())
    assert lake
    assert (query.stop(), catalog.stop()) == (0, 0)
    metadata = blobs.get_blob_client("lease/catalog").get_blob_properties().metadata
    assert (metadata["lake"], metadata["served"]) == (lake, "1")

    # The share is not mounted.
    (tmp_path / "catalog").rename(tmp_path / "away")
    refused(catalog, f"knows of the lake {lake} in epoch 1")
    assert f"holds backups of the lake {lake}" in catalog.log_text()
    shutil.rmtree(tmp_path / "catalog")
    (tmp_path / "away").rename(tmp_path / "catalog")

    # The lease is gone: the number goes on.
    blobs.delete_blob("lease/catalog")
    catalog.start()
    number = epochs.number_of(epochs.newest(tmp_path / "catalog"))
    assert number == 2

    # Another container, or an empty one, at the query replica.
    blobs.delete_blob(f"lake/{lake_id.MARK}")
    refused(query, "has lost its mark")
    assert not blobs.get_blob_client(f"lake/{lake_id.MARK}").exists()
    blobs.upload_blob(f"lake/{lake_id.MARK}", lake_id.mark_text("0123456789abcdef"))
    refused(query, "belongs to the lake 0123456789abcdef")
    blobs.upload_blob(f"lake/{lake_id.MARK}", lake_id.mark_text(lake), overwrite=True)
    query.start()
    assert rows(query, "SELECT count(*), sum(i) FROM kept") == [(1000, 499500)]
