"""A small shop, built with real dbt in a lake that is served; README.md says what has to be in the environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dbt.adapters.azquack.credentials import AzQuackCredentials
from dbt.adapters.azquack.session import Session, statements
from dbt.adapters.exceptions import FailedToConnectError
from dbt_common.exceptions import DbtRuntimeError

TOKEN = "DBT_ENV_SECRET_AZQUACK_TOKEN"  # noqa: S105  the name of a variable


def credentials(**changed: Any) -> AzQuackCredentials:
    values = {
        "host": os.environ["AZQUACK_HOST"],
        "port": int(os.environ["AZQUACK_PORT"]),
        "token": os.environ[TOKEN],
        "settings": {"extension_directory": os.environ["AZQUACK_EXTENSIONS"]},
    }
    return AzQuackCredentials(**(values | changed))


class Shop:
    """A copy of the project, with schemas of its own."""

    def __init__(self, directory: Path) -> None:
        self.project = directory / "project"
        self.schema = f"shop_{uuid4().hex[:8]}"
        shutil.copytree(Path(__file__).with_name("project"), self.project)

    def dbt(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("dbt"), "--no-use-colors", *arguments],
            capture_output=True, text=True, timeout=170, check=False, cwd=self.project,
            env=os.environ | {
                "AZQUACK_SCHEMA": self.schema, "DBT_PROFILES_DIR": str(self.project),
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            } | environment,
        )  # fmt: skip

    def build(self, *arguments: str) -> str:
        finished = self.dbt("build", *arguments)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert "WARN=0 ERROR=0 SKIP=0" in finished.stdout
        return finished.stdout

    def rows(self, sql: str) -> list[Any]:
        session = Session(credentials())
        try:
            return session.execute(sql.replace("shop.", f"{self.schema}.")).fetchall()
        finally:
            session.close()

    def results(self) -> dict[str, str]:
        run = json.loads((self.project / "target" / "run_results.json").read_text())
        return {each["unique_id"]: each["status"] for each in run["results"]}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_quick_models_are_built_by_four_threads(shop: Shop) -> None:
    said = shop.build("--select", "+customer_totals", "--indirect-selection", "cautious")
    assert "Concurrency: 4 threads" in said
    assert shop.rows("SELECT name, spent::VARCHAR, orders FROM shop.customer_totals ORDER BY customer_id") == [
        ("Ann O'Hara", "19.50", 2), ('Bo "the baker" Lie', "0.00", 0), ("Émile 🦆", "0.00", 0),
    ]  # fmt: skip


def test_a_second_build_adds_replaces_and_keeps_what_was(shop: Shop) -> None:
    shop.build()
    assert len(shop.results()) == 24
    shop.build("--vars", "{until: '2026-01-03'}")
    assert shop.rows("SELECT order_id, run FROM shop.order_log ORDER BY 1") == [
        (10, "2026-01-02"), (11, "2026-01-02"), (12, "2026-01-02"), (13, "2026-01-03"), (14, "2026-01-03"),
    ]  # fmt: skip
    assert shop.rows("SELECT day::VARCHAR, orders, amount::VARCHAR FROM shop.daily_sales ORDER BY 1") == [
        ("2026-01-01", 1, "12.50"), ("2026-01-02", 2, "10.25"), ("2026-01-03", 2, "41.75"),
    ]  # fmt: skip
    # The second build brought a column.
    assert shop.rows("SELECT count(*), count(day) FROM shop.order_state") == [(5, 5)]
    assert shop.rows("SELECT count(*) FROM shop.yearly_orders") == [(5,)]
    assert shop.rows('SELECT status, note, orders FROM shop."Statuses, été" ORDER BY status') == [
        ("done", "it's ? $1 {} ;", 3), ("open", "it's ? $1 {} ;", 1), ("returned", "it's ? $1 {} ;", 1),
    ]  # fmt: skip
    history = shop.schema + "_history.order_history"
    assert shop.rows(f"SELECT count(*), count(dbt_valid_to) FROM {history}") == [(5, 0)]


def test_a_snapshot_keeps_the_row_that_changed(shop: Shop) -> None:
    shop.build()
    seed = shop.project / "seeds" / "orders.csv"
    seed.write_text(seed.read_text().replace("12,2,2026-01-02,open", "12,2,2026-01-02,done"))
    shop.build()
    history = shop.schema + "_history.order_history"
    assert shop.rows(
        f"SELECT status, dbt_valid_to IS NULL FROM {history} WHERE order_id = 12 ORDER BY dbt_valid_from"
    ) == [("open", False), ("done", True)]


def test_a_full_refresh_and_a_change_of_kind_replace_what_was(shop: Shop) -> None:
    shop.build()
    model = shop.project / "models" / "staging" / "stg_customers.sql"
    model.write_text("{{ config(materialized='table') }}\n" + model.read_text())
    totals = shop.project / "models" / "marts" / "customer_totals.sql"
    totals.write_text(totals.read_text().replace("partitioned_by='city'", "materialized='view'"))
    shop.build("--full-refresh")
    kinds = dict(shop.rows(
        "SELECT table_name, table_type FROM information_schema.tables "
        f"WHERE table_schema = '{shop.schema}' AND NOT ends_with(table_name, 'tmp')"
    ))  # fmt: skip
    assert (kinds["stg_customers"], kinds["customer_totals"]) == ("BASE TABLE", "VIEW")
    assert not [name for name in kinds if "__dbt" in name]


def test_a_model_that_fails_leaves_what_was_there(shop: Shop) -> None:
    shop.build()
    model = shop.project / "models" / "marts" / "daily_sales.sql"
    model.write_text(model.read_text().replace("count(*) as orders", "error('no such day') as orders"))
    failed = shop.dbt("run", "--select", "daily_sales", "--vars", "{until: '2026-01-03'}")
    assert failed.returncode == 1
    assert "no such day" in failed.stdout
    assert "lake.query" not in failed.stdout
    assert shop.rows("SELECT count(*) FROM shop.daily_sales") == [(2,)]


def test_docs_show_tables_columns_and_comments(shop: Shop) -> None:
    shop.build()
    generated = shop.dbt("docs", "generate")
    assert generated.returncode == 0, generated.stdout
    catalog = json.loads((shop.project / "target" / "catalog.json").read_text())
    assert not catalog["errors"]
    assert len(catalog["nodes"]) == 12
    customers = catalog["nodes"]["model.shop.stg_customers"]
    assert customers["metadata"]["type"] == "VIEW"
    assert customers["metadata"]["comment"] == ('Who buys; it\'s one row a customer (50% of "Bo" is $1 or ?)')
    assert list(customers["columns"]) == ["customer_id", "name", "city", "since"]


def test_python_models_are_refused_in_a_sentence(shop: Shop) -> None:
    model = shop.project / "models" / "marts" / "in_python.py"
    model.write_text("def model(dbt, session):\n    return dbt.ref('stg_orders')\n")
    failed = shop.dbt("build", "--select", "+in_python")
    assert failed.returncode == 1
    assert "write it in SQL" in failed.stdout


def test_no_token_is_in_the_logs_of_dbt(shop: Shop) -> None:
    assert shop.dbt("debug").returncode == 0
    refused = shop.dbt("debug", **{TOKEN: "a-token-of-nobody"})
    assert refused.returncode == 1
    written = (shop.project / "logs" / "dbt.log").read_text() + refused.stdout + refused.stderr
    assert "cannot attach quack:" in written
    assert os.environ[TOKEN] not in written
    assert "a-token-of-nobody" not in written


def test_a_statement_runs_once_and_is_data_to_the_client() -> None:
    session = Session(credentials())
    name = f"once_{uuid4().hex[:8]}"
    try:
        session.execute(f"CREATE TABLE {name} (t VARCHAR)")
        text = "it's \"; DROP TABLE x; -- $1 ? {} \\ 🦆'');"
        session.execute("INSERT INTO {} VALUES ('{}')".format(name, text.replace("'", "''")))
        assert session.execute(f"FROM {name}").fetchall() == [(text,)]
        session.execute(f"BEGIN; INSERT INTO {name} VALUES ('gone')")
        session.rollback()
        assert session.execute(f"SELECT 1; SELECT count(*) FROM {name} -- the last").fetchall() == [(1,)]
        assert session.execute("-- nothing at all").description is None
        session.execute(f"DROP TABLE {name}")
    finally:
        session.close()


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT ';' -- ;\n", ["SELECT ';' -- ;\n"]),
        ("a; b", ["a; b"]),
        ("PIVOT t ON i USING count(*)", ["PIVOT t ON i USING count(*)"]),
        ("/* nothing */ ;", []),
    ],
)
def test_statements_are_divided_as_duckdb_does(sql: str, parts: list[str]) -> None:
    assert statements(sql) == parts
    assert [each.strip() for each in statements("SELECT 1; SELECT ';'")] == ["SELECT 1", "SELECT ';'"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [({"host": ""}, "no host"), ({"token": ""}, "no token"), ({"database": "other"}, "the database is lake")],
)
def test_a_profile_that_lacks_something_says_what(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DbtRuntimeError, match=sentence):
        credentials(**changed)


def test_a_gateway_that_is_not_there_is_named() -> None:
    with pytest.raises(FailedToConnectError, match=r"cannot attach quack:127\.0\.0\.1:1: "):
        Session(credentials(host="127.0.0.1", port=1))
