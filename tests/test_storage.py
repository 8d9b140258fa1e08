"""Where data lies: the statements of every kind, and real lakes on a directory and on Azurite."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from azquack.config.settings import Settings, StorageAuth
from azquack.errors import LakeError, SettingError
from azquack.lake.lake_id import MARK, mark_text
from azquack.lake.metadata import Metadata
from azquack.sql import MASK, literal
from azquack.storage import Storage, azure, s3, storage_for
from bench.delay import DelayProxy
from tests.lakes import exercise, open_lake, plain_duckdb
from tests.standins.azure import Azure
from tests.standins.azurite import ACCOUNT, KEY, Azurite

LOCKDOWN = (
    "SET allowed_directories = [{}]",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
S3_KEY = {"s3_key_id": "AKIAEXAMPLE", "s3_secret": "very/secret"}


def azure_settings(servers: Azure, path: str) -> Settings:
    """The settings of a data path in `servers`."""
    names = ("storage_auth", "azure_account", "azure_client_id", "azure_endpoint")
    return Settings.model_validate({"data_path": path, **{name: servers.settings[name] for name in names}})


# -- a directory


def test_a_lake_on_a_directory_does_all_that_ducklake_does(tmp_path: Path) -> None:
    storage = storage_for(Settings(data_path=str(tmp_path / "not" / "there yet")))
    with open_lake(tmp_path, storage, Metadata(str(tmp_path / "m.duckdb"), ())) as lake:
        (tmp_path / "not" / "there yet" / MARK).write_text(mark_text("x"))
        exercise(lake)
        assert lake.execute(storage.probe.text).fetchall()
    files = {path.suffix for path in (tmp_path / "not" / "there yet").rglob("*") if path.is_file()}
    assert files == {".parquet", ""}, "only Parquet files and the mark are in the data path"


def test_the_probe_of_a_directory_fails_when_it_is_gone(tmp_path: Path) -> None:
    storage = storage_for(Settings(data_path=str(tmp_path / "data")))
    storage.prepare()
    (tmp_path / "data" / MARK).write_text(mark_text("x"))
    with plain_duckdb(tmp_path) as connection:
        for each in LOCKDOWN:
            connection.execute(each.format(literal(storage.data_path)))
        assert connection.execute(storage.probe.text).fetchall()
        (tmp_path / "data" / MARK).unlink()
        (tmp_path / "data").rmdir()
        with pytest.raises(duckdb.InvalidInputException, match=r"the data path .*/data is gone"):
            connection.execute(storage.probe.text)


@pytest.mark.parametrize("place", ["file/below", "/proc", "/sys/kernel"])
def test_a_directory_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    storage = storage_for(Settings(data_path=str(tmp_path / place)))
    with pytest.raises(LakeError, match=r"^the data path .* cannot be written \(.*\): .*AZQUACK_DATA_PATH"):
        storage.prepare()


def test_a_read_only_lake_makes_nothing(tmp_path: Path) -> None:
    settings = Settings(data_path=str(tmp_path / "data"), read_only=True)
    with pytest.raises(LakeError, match="is no directory"):
        storage_for(settings).prepare()
    (tmp_path / "data").mkdir()
    storage_for(settings).prepare()
    assert list((tmp_path / "data").iterdir()) == []
    with plain_duckdb(tmp_path) as connection:
        connection.execute(storage_for(settings).probe.text)


def test_a_data_path_is_absolute_and_ends_in_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage_for(Settings(data_path="data")).data_path == f"{tmp_path}/data/"
    assert storage_for(Settings(data_path=f"{tmp_path}/data//")).data_path == f"{tmp_path}/data/"


# -- az://


def test_a_lake_on_blob_storage_by_connection_string(
    tmp_path: Path, azurite: Azurite, container: str
) -> None:
    settings = Settings.model_validate(
        {"data_path": f"az://{container}/lake", "azure_connection_string": azurite.connection_string}
    )
    storage = storage_for(settings)
    with open_lake(tmp_path, storage, Metadata(str(tmp_path / "m.duckdb"), ())) as lake:
        exercise(lake)
        kept = {
            row[0]
            for row in lake.execute("SELECT data_file FROM ducklake_list_files('lake', 'events')").fetchall()
        }
        assert {f"az://{container}/{name}" for name in azurite.blobs(container)} == kept


def test_each_insert_lists_the_folder_of_its_table(tmp_path: Path, azurite: Azurite, container: str) -> None:
    proxy = DelayProxy(azurite.port)
    by_proxy = azurite.connection_string_by(proxy.port)
    settings = {"data_path": f"az://{container}/lake", "azure_connection_string": by_proxy}
    storage = storage_for(Settings.model_validate(settings))
    with open_lake(tmp_path, storage, Metadata(str(tmp_path / "m.duckdb"), ())) as lake:
        lake.execute("CREATE TABLE trickle (i BIGINT)")

        def asked() -> tuple[int, int]:
            trips, answered = proxy.trips, proxy.answered
            # Its row stays in the catalog: nothing is written to the storage.
            lake.execute("INSERT INTO trickle VALUES (1)")
            return proxy.trips - trips, proxy.answered - answered

        asked()  # connects
        trips, with_no_file = asked()
        assert trips == 1
        with azurite.client() as client:
            for number in range(100):
                client.get_blob_client(container, f"lake/main/trickle/{number}.parquet").upload_blob(b"")
        trips, with_files = asked()
        # docs/known-limits.md: once an upgrade asks for one name only, or not at all, say so there.
        assert trips == 1
        assert with_files - with_no_file > 100 * 100
    proxy.close()


def test_a_lake_on_blob_storage_by_managed_identity_over_tls(tmp_path: Path, in_azure: Azure) -> None:
    in_azure.blob.make_container("identity")
    storage = storage_for(azure_settings(in_azure, "az://identity/"))
    with open_lake(tmp_path, storage, Metadata(str(tmp_path / "m.duckdb"), ())) as lake:
        exercise(lake)
        lake.execute(storage.probe.text)
    assert {request.query["resource"] for request in in_azure.identity.requests} == {
        "https://storage.azure.com"
    }
    assert in_azure.blob.blobs("identity")


def test_the_credential_chain_finds_the_identity_of_the_platform(
    tmp_path: Path, in_azure: Azure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_azure.identity, "client_id", None)
    in_azure.blob.make_container("chain")
    given = {"data_path": "az://chain/", "azure_account": ACCOUNT, "azure_endpoint": in_azure.blob.endpoint}
    storage = storage_for(Settings.model_validate(given))
    assert "PROVIDER credential_chain" in storage.statements()[-1].text
    with plain_duckdb(tmp_path, *storage.extensions) as connection:
        for each in storage.statements():
            connection.execute(each.text)
        connection.execute("COPY (SELECT 1 AS i) TO 'az://chain/one.parquet'")
    assert in_azure.blob.blobs("chain") == ["one.parquet"]


def test_an_untrusted_certificate_is_refused(
    tmp_path: Path, in_azure: Azure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CURL_CA_INFO")
    storage = storage_for(azure_settings(in_azure, "az://identity/"))
    with plain_duckdb(tmp_path, *storage.extensions) as connection:
        for each in storage.statements():
            connection.execute(each.text)
        with pytest.raises(duckdb.Error, match="SSL"):
            connection.execute(storage.probe.text)


def test_the_probe_of_blob_storage_tells_of_a_container_that_is_not_there(
    tmp_path: Path, in_azure: Azure
) -> None:
    in_azure.blob.make_container("there")
    there = storage_for(azure_settings(in_azure, "az://there/lake/"))
    gone = storage_for(azure_settings(in_azure, "az://gone/lake/"))
    with plain_duckdb(tmp_path, *there.extensions) as connection:
        for each in there.statements():
            connection.execute(each.text)
        for lock in LOCKDOWN:
            connection.execute(lock.format(literal(there.data_path)))
        assert connection.execute(there.probe.text).fetchall() == [(0,)]
        with pytest.raises(duckdb.PermissionException):
            connection.execute("FROM glob('az://there/*')")
    with plain_duckdb(tmp_path, *gone.extensions) as connection:
        for each in gone.statements():
            connection.execute(each.text)
        with pytest.raises(duckdb.IOException, match="ContainerNotFound"):
            connection.execute(gone.probe.text)


def test_a_token_that_has_expired_is_refused_and_a_new_one_asked_for(tmp_path: Path, in_azure: Azure) -> None:
    in_azure.blob.make_container("shortlived")
    storage = storage_for(azure_settings(in_azure, "az://shortlived/"))
    in_azure.identity.life = 30.0
    try:
        with open_lake(tmp_path, storage, Metadata(str(tmp_path / "m.duckdb"), ())) as lake:
            lake.execute("CREATE TABLE t (i BIGINT)")
            lake.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
            asked = len(in_azure.identity.requests)
            for number in range(8):
                lake.execute(f"INSERT INTO t VALUES ({number})")
            assert lake.execute("SELECT count(*) FROM t").fetchone() == (8,)
            assert len(in_azure.identity.requests) >= asked + 8, "DuckDB asks for each statement"
            # Azurite judges the dates: what it refuses is really out of date.
            in_azure.identity.life = -1.0
            with pytest.raises(duckdb.IOException, match="AuthenticationFailed"):
                lake.execute(storage.probe.text)
    finally:
        in_azure.identity.life = 3600.0


# -- the statements


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        (
            {"data_path": "az://box/a/b", "azure_account": "acc", "azure_client_id": "id"},
            {
                "type": "azure", "provider": "managed_identity", "scope": ["az://box/"],
                "account_name": "acc", "client_id": "id",
            },
        ),
        (
            {"data_path": "az://box", "azure_account": "acc", "storage_options": {"chain": "cli;env"}},
            {"type": "azure", "provider": "credential_chain", "account_name": "acc", "chain": "cli;env"},
        ),
        (
            {"data_path": "az://box", "azure_connection_string": "AccountName=a;AccountKey=secret/key=="},
            {"type": "azure", "provider": "config", "connection_string": "redacted"},
        ),
        (
            {
                "data_path": "s3://bucket/a/", "s3_region": "eu-west-1", "s3_endpoint": "s3.example.com",
                "s3_url_style": "path", "s3_use_ssl": False, **S3_KEY,
            },
            {
                "type": "s3", "provider": "config", "scope": ["s3://bucket/"], "region": "eu-west-1",
                "endpoint": "s3.example.com", "url_style": "path", "use_ssl": "false",
                "key_id": "AKIAEXAMPLE", "secret": "redacted",
            },
        ),
        (
            {
                "data_path": "s3://bucket", **S3_KEY,
                "storage_options": {"session_token": "tok{e}n", "REQUESTER_PAYS": "true"},
            },
            {"type": "s3", "session_token": "redacted", "requester_pays": "true"},
        ),
        (
            {"data_path": "r2://bucket", "r2_account_id": "acc", **S3_KEY},
            {
                "type": "r2", "provider": "config", "scope": ["r2://bucket/"],
                "endpoint": "acc.r2.cloudflarestorage.com",
            },
        ),
        (
            {"data_path": "gs://my_bucket/x", **S3_KEY},
            {"type": "gcs", "provider": "config", "scope": ["gs://my_bucket/"], "secret": "redacted"},
        ),
        (
            {"data_path": "gs://bucket", "storage_options": {"BEARER_TOKEN": "ya29.x"}},
            {"type": "gcs", "provider": "config", "bearer_token": "redacted"},
        ),
    ],
)  # fmt: skip
def test_duckdb_takes_the_secret(tmp_path: Path, given: dict[str, object], secret: dict[str, object]) -> None:
    storage = storage_for(Settings.model_validate(given))
    with plain_duckdb(tmp_path, *storage.extensions) as connection:
        made = made_secret(connection, storage)
    assert {name: made.get(name) for name in secret} == secret


@pytest.mark.parametrize("scheme", ["s3", "r2", "gs"])
def test_the_credential_chain_takes_the_keys_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFROMENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret/from/env")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    given = {"data_path": f"{scheme}://bucket/", "s3_region": "eu-west-1", "r2_account_id": "acc"}
    storage = storage_for(Settings.model_validate(given))
    assert storage.extensions == ("httpfs", "aws")
    with plain_duckdb(tmp_path, *storage.extensions) as connection:
        made = made_secret(connection, storage)
    assert (made["provider"], made["key_id"], made["secret"]) == (
        "credential_chain",
        "AKIAFROMENV",
        "redacted",
    )
    assert "refresh_info" in made, "keys of a chain expire"


def test_every_option_that_we_allow_is_one_that_duckdb_knows(tmp_path: Path) -> None:
    kinds = {("azure", auth): names for auth, names in azure.OPTIONS.items()}
    kinds |= {(s3.TYPES[scheme], auth): names for (scheme, auth), names in s3.OPTIONS.items()}
    with plain_duckdb(tmp_path, "httpfs", "azure", "aws") as connection:

        def refusal(type_: str, auth: StorageAuth, option: str) -> str:
            provider = auth.value if auth.value in ("managed_identity", "credential_chain") else "config"
            try:
                connection.execute(
                    f"CREATE OR REPLACE SECRET s (TYPE {type_}, PROVIDER {provider}, {option} 'true')"
                )
            except duckdb.Error as error:
                return str(error)
            return ""

        for (type_, auth), names in kinds.items():
            assert "Unknown parameter" in refusal(type_, auth, "NOPE")
            for name in names:
                assert "Unknown parameter" not in refusal(type_, auth, name), (type_, auth, name)


def test_no_secret_shows_in_what_is_shown() -> None:
    given = {"data_path": "s3://bucket/", "storage_options": {"SESSION_TOKEN": "session/secret"}, **S3_KEY}
    storage = storage_for(Settings.model_validate(given))
    shown = repr(storage) + repr(storage.statements()) + "".join(each.masked for each in storage.statements())
    assert "very/secret" not in shown
    assert "session/secret" not in shown
    assert MASK in shown
    blob = storage_for(
        Settings.model_validate(
            {"data_path": "az://box", "azure_connection_string": f"AccountName={ACCOUNT};AccountKey={KEY}"}
        )
    )
    assert KEY not in repr(blob) + repr(blob.statements())
    assert KEY in blob.statements()[-1].text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "AZQUACK_DATA_PATH is not set"),
        ({"data_path": "abfss://box/a"}, "DuckDB cannot write through abfss://, use az://"),
        ({"data_path": "hdfs://box/a"}, "allowed are a directory, az://, s3://, r2:// and gs://"),
        ({"data_path": "az://Box/a"}, "write az://CONTAINER/PREFIX/"),
        ({"data_path": "az://acc.blob.core.windows.net/box"}, "write az://CONTAINER/PREFIX/"),
        ({"data_path": "az://box/a"}, "AZQUACK_AZURE_ACCOUNT is not set"),
        ({"data_path": "az://box", "azure_account": "a", "azure_endpoint": "https://x"}, "without https://"),
        ({"data_path": "az://box", "storage_auth": "key"}, "'key', which az:// does not have"),
        ({"data_path": "az://box", "storage_auth": "connection_string"}, "CONNECTION_STRING is not set"),
        ({"data_path": "az://box", "azure_connection_string": "hunter2"}, "has no AccountName="),
        ({"data_path": "az://box", "azure_account": "a", "storage_options": {"TYPE": "x"}}, "names TYPE"),
        ({"data_path": "s3:///a"}, "write s3://BUCKET/PREFIX/"),
        ({"data_path": "s3://b-1", "storage_auth": "managed_identity"}, "only az:// has"),
        ({"data_path": "s3://b-1", "s3_key_id": "a"}, "AZQUACK_S3_SECRET is not set"),
        ({"data_path": "s3://b-1", "storage_auth": "key"}, "AZQUACK_S3_KEY_ID is not set"),
        ({"data_path": "r2://b-1", **S3_KEY}, "AZQUACK_R2_ACCOUNT_ID is not set"),
        ({"data_path": "s3://b-1", "storage_options": {"nope": "hunter2"}, **S3_KEY}, "names nope"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError) as caught:
        storage_for(Settings.model_validate(given))
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "very/secret" not in str(caught.value)


def made_secret(connection: duckdb.DuckDBPyConnection, storage: Storage) -> dict[str, object]:
    """Run the statements of `storage`; what `duckdb_secrets()` says of the secret that they made."""
    for each in storage.statements():
        connection.execute(each.text)
    row = connection.execute("SELECT type, provider, scope, secret_string FROM duckdb_secrets()").fetchone()
    assert row is not None
    pairs = re.findall(r"(\w+)=(.*?)(?=;\w+=|$)", row[3])
    return {**dict(pairs), "type": row[0], "provider": row[1], "scope": row[2]}
