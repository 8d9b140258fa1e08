"""What is behind the lake: every form of AZQUACK_CATALOG, and real lakes on DuckDB, SQLite and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from azquack.config.settings import Settings, shown
from azquack.errors import SettingError
from azquack.lake.metadata import Metadata, metadata_for, quack_address
from azquack.storage import storage_for
from azquack.tokens.environment import EnvironmentTokens
from azquack.tokens.source import TokenSource
from tests.lakes import exercise, open_lake, plain_duckdb, query_node
from tests.standins.postgres import PASSWORD, TempPostgres

INTERNAL = "internal-token-value"


@pytest.fixture
def tokens() -> TokenSource:
    """A source with an internal token."""
    return EnvironmentTokens(None, Settings.model_validate({"internal_token": INTERNAL}).internal_token)


def metadata(uri: str, tokens: TokenSource, **settings: object) -> Metadata:
    """`metadata_for` with those settings."""
    return metadata_for(Settings.model_validate(settings), uri, tokens)


# -- quack:


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("quack:catalog", ("catalog", 9494)),
        ("quack:10.0.0.7:1234", ("10.0.0.7", 1234)),
        ("quack:[::1]:1234", ("[::1]", 1234)),
        ("quack:catalog.internal.example.com:443", ("catalog.internal.example.com", 443)),
    ],
)
def test_a_quack_address_has_a_host_and_a_port(uri: str, address: tuple[str, int]) -> None:
    assert quack_address(uri) == address


def test_the_internal_token_is_a_secret_for_that_address_only(tmp_path: Path, tokens: TokenSource) -> None:
    made = metadata("quack:catalog:1234", tokens)
    assert (made.path, made.extensions) == ("quack:catalog:1234", ("quack",))
    assert INTERNAL not in repr(made)
    with plain_duckdb(tmp_path, "httpfs", *made.extensions) as connection:
        for each in made.secrets:
            connection.execute(each.text)
        row = connection.execute(
            "SELECT type, scope, persistent, secret_string LIKE '%token=redacted%' FROM duckdb_secrets()"
        ).fetchone()
    assert row == ("quack", ["quack:catalog:1234"], True, True)


# -- files


@pytest.mark.parametrize("prefix", ["", "duckdb:", "sqlite:"])
def test_a_lake_behind_a_file_does_all_that_ducklake_does(
    tmp_path: Path, tokens: TokenSource, prefix: str
) -> None:
    made = metadata(f"{prefix}{tmp_path}/it's {{a}} catalog.db", tokens)
    storage = storage_for(Settings(data_path=str(tmp_path / "data")))
    with open_lake(tmp_path, storage, made) as lake:
        exercise(lake)
    header = (tmp_path / "it's {a} catalog.db").read_bytes()[:16]
    assert header.startswith(b"SQLite format 3") == (prefix == "sqlite:")
    with open_lake(tmp_path, storage, made, read_only=True) as lake:
        assert lake.execute("SELECT count(*) FROM events").fetchone() == (6000,)
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            lake.execute("DELETE FROM events")


def test_a_relative_file_is_made_absolute(
    tmp_path: Path, tokens: TokenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert metadata("lake.duckdb", tokens).path == f"{tmp_path}/lake.duckdb"
    assert metadata("sqlite:lake.db", tokens).path == f"sqlite:{tmp_path}/lake.db"


# -- PostgreSQL


def test_a_lake_behind_postgresql_does_all_that_ducklake_does(
    tmp_path: Path, tokens: TokenSource, postgres: TempPostgres
) -> None:
    made = metadata(f"postgres:{postgres.new_database()}", tokens, catalog_password=PASSWORD)
    storage = storage_for(Settings(data_path=str(tmp_path / "data")))
    with open_lake(tmp_path, storage, made) as lake:
        exercise(lake)
        shown = repr(lake.execute("FROM duckdb_databases()").fetchall())
        shown += repr(lake.execute("FROM duckdb_secrets()").fetchall()) + repr(made)
    assert "hunter2" in PASSWORD
    assert "hunter2" not in shown


def test_postgresql_refuses_a_wrong_password(
    tmp_path: Path, tokens: TokenSource, postgres: TempPostgres
) -> None:
    made = metadata(f"postgres:{postgres.new_database()}", tokens, catalog_password="not-the-password")
    storage = storage_for(Settings(data_path=str(tmp_path / "data")))
    with (
        pytest.raises(duckdb.Error, match="password authentication failed") as caught,
        open_lake(tmp_path, storage, made),
    ):
        pass
    assert "not-the-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("postgres:dbname=lake host=db", "postgres:dbname=lake host=db"),
        ("postgres: dbname = 'my lake'  user=o\\'neil ", "postgres:dbname='my lake' user='o\\'neil'"),
        ("postgres://me@db:5433/lake?sslmode=x", "postgres:host=db port=5433 user=me dbname=lake sslmode=x"),
        ("postgresql://db/my%20lake", "postgres:host=db dbname='my lake'"),
    ],
)  # fmt: skip
def test_both_of_libpqs_forms_are_taken(tokens: TokenSource, uri: str, path: str) -> None:
    made = metadata(uri, tokens)
    assert (made.path, made.extensions, made.secrets, dict(made.parameters)) == (path, ("postgres",), (), {})


def test_a_password_in_the_setting_is_not_shown_back() -> None:
    for uri in ("postgres://me:hunter2@db/lake", "postgres:dbname=lake password=hunter2 user=me"):
        assert "hunter2" not in shown(uri)
        assert "me" in shown(uri)
    assert "hunter2" not in shown("postgres:password = 'hunter2 \\' hunter2' dbname=lake")
    assert shown("quack:catalog:9494") == "quack:catalog:9494"


# -- in a query node, which opens the lake as its initial database


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgres"])
def test_a_query_node_opens_the_lake_behind_it(
    tmp_path: Path, tokens: TokenSource, kind: str, request: pytest.FixtureRequest
) -> None:
    uri = f"{kind}:{tmp_path}/catalog.db"
    if kind == "postgres":
        uri = f"postgres:{request.getfixturevalue('postgres').new_database()}"
    settings = Settings.model_validate(
        {
            "catalog": uri,
            "catalog_password": PASSWORD,
            "data_path": str(tmp_path / "data"),
            "memory_limit": "1GB",
        }
    )
    with query_node(tmp_path / "node", settings, tokens) as node:
        assert set(node.probe().values()) == {""}
        node.connection.execute("CREATE TABLE node_table AS FROM range(5000) t(i)")
        # Further threads open further connections to the catalog, long after the secret is gone.
        with ThreadPoolExecutor(8) as pool:
            counts = pool.map(lambda _: count(node.connection, "node_table"), range(16))
        assert set(counts) == {5000}
        assert node.connection.execute("FROM duckdb_secrets()").fetchall() == []
        assert list((tmp_path / "node" / "secrets").iterdir()) == []
    assert list((tmp_path / "data").rglob("*.parquet"))


def count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """The rows of `table`, on a session of its own."""
    row = connection.cursor().execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


# -- mistakes


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("quack:", "write quack:HOST"),
        ("quack:host:0", "port 1 to 65535"),
        ("quack:host:99999", "port 1 to 65535"),
        ("quack://host:1234", "write quack:HOST"),
        ("quack:ho st", "write quack:HOST"),
        ("mysql:db=x", "unknown scheme mysql"),
        ("https://catalog", "unknown scheme https"),
        ("", "names no file"),
        ("sqlite:", "names no file"),
        ("/not/there/lake.duckdb", "there is no directory /not/there"),
        ("postgres:", "names no database"),
        ("postgres:lake", "is no PostgreSQL connection"),
        ("postgres:dbname=lake host='db", "is no PostgreSQL connection"),
        ("postgres:dbname=lake password=hunter2", "set AZQUACK_CATALOG_PASSWORD"),
        ("postgres://me:hunter2@db/lake", "set AZQUACK_CATALOG_PASSWORD"),
        ("postgres://me:hunter2@db:x/lake", "is no URL"),
        ("postgres://db/lake?password=hunter2", "set AZQUACK_CATALOG_PASSWORD"),
    ],
)
def test_a_malformed_uri_is_named_with_what_is_allowed(tokens: TokenSource, uri: str, sentence: str) -> None:
    with pytest.raises(SettingError) as caught:
        metadata(uri, tokens)
    assert "AZQUACK_CATALOG" in str(caught.value)
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)
