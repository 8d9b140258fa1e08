"""A pair whose public gateway speaks TLS: `azquack up`, `sql`, `status`, `connect`, and a stock client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import trustme

from azquack.lake import extensions
from tests.cluster import TempPair, wait_until


def test_a_pair_with_a_certificate_serves_its_own_commands_and_stock_clients(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, ca = (tmp_path / name for name in ("certificate.pem", "key.pem", "ca.pem"))
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    pair = TempPair(
        tmp_path / "lake",
        "--demo",
        "--backup-every",
        "0",
        "--tls-cert",
        str(certificate),
        "--tls-key",
        str(key),
    )

    def run(*arguments: str, given: str = "") -> str:
        finished = subprocess.run(
            [sys.executable, "-m", "azquack", *arguments, "--dir", str(pair.directory)],
            input=given, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return finished.stdout + finished.stderr

    try:
        pair.start()
        assert run("sql", "--format", "csv", "SELECT count(*) AS n FROM demo.events") == "n\n10000\n"
        assert "42" in run("connect", given="FROM lake.query('SELECT 6 * 7 AS answer');")
        wait_until(
            lambda: json.loads(run("status", "--json"))["query"]["ready"], lambda: run("status"), timeout=60
        )
        home = tmp_path / "home"
        home.mkdir()
        extensions.link_all(home)
        with duckdb.connect(":memory:", config=extensions.config(home)) as client:
            client.execute(f"LOAD httpfs; LOAD quack; CREATE SECRET (TYPE quack, TOKEN '{pair.token}')")
            attach = f"ATTACH '{pair.uri}' AS lake (DISABLE_SSL false)"
            with pytest.raises(duckdb.Error):
                client.execute(attach)
            client.execute(f"SET ca_cert_file = '{ca}'")
            client.execute(attach)
            assert client.execute("FROM lake.query('SELECT count(*) FROM demo.events')").fetchall() == [
                (10_000,)
            ]
    finally:
        pair.destroy()
