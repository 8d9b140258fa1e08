"""The audit log and the metrics."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import duckdb
import pytest

from azquack.gateway.audit import fingerprint, without_secrets
from azquack.quack import wire
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import ANN, client, post


def test_statements_that_differ_in_literals_and_blanks_have_one_fingerprint() -> None:
    assert fingerprint("SELECT * FROM t WHERE a = 1") == fingerprint("select *  from t\nwhere a = 22")
    assert fingerprint("SELECT 'it''s' FROM t") == fingerprint("SELECT $$x$$ FROM t")
    assert fingerprint("SELECT a FROM t WHERE b IN (1, 2, 3)") == fingerprint(
        "SELECT a FROM t WHERE b IN ('x', NULL)"
    )
    assert fingerprint("SELECT a /* 1 */ FROM t -- 'x'") == fingerprint("SELECT a FROM t")
    assert fingerprint("SELECT a FROM t") != fingerprint("SELECT b FROM t")
    assert fingerprint('SELECT "1" FROM t') != fingerprint('SELECT "2" FROM t')


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE SECRET s (TYPE azure, CONNECTION_STRING 'AccountKey=hush')",
        "ATTACH 'quack:h:1' AS x (TOKEN 'hush')",
        "ATTACH 'postgres:password=hush' AS p",
        "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET $$hush$$)",
        "CREATE SECRET (TYPE s3, KEY_ID E'a\\'hush', SECRET $x$ $hush$ $x$)",
        "SELECT 'token' IN ('a', 'hush', '''hush', 'c')",
        "SELECT 'token', 'hush",
        "SELECT 'token', $a$ hush",
    ],
)
def test_secrets_are_masked(sql: str) -> None:
    assert "hush" not in without_secrets(sql)


def test_every_start_has_its_finish_and_no_token_is_written(
    start_node: StartNode, start_gateway: StartGateway, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    gateway = start_gateway(start_node("n1", "CREATE TABLE t (i INTEGER)"), audit=str(log))
    with client(gateway.port) as ann:
        ann.there("SELECT 1")
        ann.rows("INSERT INTO r.t VALUES (1)")
        ann.there("INSERT INTO t FROM range(300)")
        ann.there("UPDATE t SET i = 7 WHERE i < 10")
        with pytest.raises(duckdb.Error):
            ann.there("selectx")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    starts = {line["id"]: line for line in lines if line["event"] == "start"}
    finishes = {line["id"]: line for line in lines if line["event"] == "finish"}
    assert starts.keys() == finishes.keys()
    by_text = {line["text"]: finishes[line["id"]] for line in starts.values() if "text" in line}
    assert by_text["SELECT 1"]["outcome"] == "ok"
    assert by_text["selectx"]["outcome"] == "error"
    assert by_text["INSERT INTO t FROM range(300)"]["rows"] == 300
    assert by_text["UPDATE t SET i = 7 WHERE i < 10"]["rows"] == 11
    assert "rows" not in by_text["SELECT 1"]
    [append] = [line for line in starts.values() if line.get("kind") == "append"]
    assert append["table"] == "main.t"
    assert finishes[append["id"]]["rows"] == 1
    assert {line["principal"] for line in starts.values()} == {"ann"}
    assert ANN not in log.read_text()


def test_refusals_before_the_policy_are_written_too_and_cannot_fill_the_disk(
    start_node: StartNode, start_gateway: StartGateway, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    limits = {"requests_per_principal": 1, "queue_seconds": 0.1, "failed_logins": 1000}
    gateway = start_gateway(start_node("n1"), audit=str(log), limits=limits)
    with client(gateway.port) as ann:
        for _ in range(20):
            with contextlib.suppress(duckdb.Error):
                ann.there("SELECT 1")
        with pytest.raises(duckdb.Error, match="Too many requests of ann"):
            ann.there("SELECT 1")
        for _ in range(200):
            post(gateway.port, wire.connection_request(wire.ConnectionRequest("wrong")))
        post(gateway.port, wire.prepare("A" * 40, "SELECT 1"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    starts = {line["id"]: line for line in lines if line["event"] == "start"}
    refused = {line["id"]: line["reason"] for line in lines if line.get("outcome") == "refused"}
    assert refused.keys() <= starts.keys()
    assert {"rate", "token"} <= set(refused.values())
    assert {starts[id]["principal"] for id, reason in refused.items() if reason == "rate"} == {"ann"}
    assert all(starts[id]["kind"] == "login" for id, reason in refused.items() if reason == "token")
    assert len(refused) < 60
