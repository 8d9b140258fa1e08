"""The audit log and the metrics."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from azquack.door.audit import fingerprint, without_secrets
from tests.door.conftest import StartDoor, StartNode
from tests.door.parts import ANN, client


def test_statements_that_differ_in_literals_and_blanks_have_one_fingerprint() -> None:
    assert fingerprint("SELECT * FROM t WHERE a = 1") == fingerprint("select *  from t\nwhere a = 22")
    assert fingerprint("SELECT 'it''s' FROM t") == fingerprint("SELECT $$x$$ FROM t")
    assert fingerprint("SELECT a FROM t") != fingerprint("SELECT b FROM t")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE SECRET s (TYPE azure, CONNECTION_STRING 'AccountKey=hush')",
        "ATTACH 'quack:h:1' AS x (TOKEN 'hush')",
        "ATTACH 'postgres:password=hush' AS p",
        "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET $$hush$$)",
    ],
)
def test_secrets_are_masked(sql: str) -> None:
    assert "hush" not in without_secrets(sql)


def test_every_start_has_its_finish_and_no_token_is_written(
    start_node: StartNode, start_door: StartDoor, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    door = start_door(start_node("n1", "CREATE TABLE t (i INTEGER)"), audit=str(log))
    with client(door.port) as ann:
        ann.there("SELECT 1")
        ann.rows("INSERT INTO r.t VALUES (1)")
        with pytest.raises(duckdb.Error):
            ann.there("selectx")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    starts = {line["id"]: line for line in lines if line["event"] == "start"}
    finishes = {line["id"]: line for line in lines if line["event"] == "finish"}
    assert starts.keys() == finishes.keys()
    by_text = {line["text"]: finishes[line["id"]] for line in starts.values() if "text" in line}
    assert by_text["SELECT 1"]["outcome"] == "ok"
    assert by_text["selectx"]["outcome"] == "error"
    assert [line["table"] for line in starts.values() if line.get("kind") == "append"] == ["main.t"]
    assert {line["principal"] for line in starts.values()} == {"ann"}
    assert ANN not in log.read_text()
