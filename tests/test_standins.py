"""The stand-ins from the command line, as scripts and the container image use them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.cluster import end, read_line
from tests.standins.azurite import Azurite

TESTS = Path(__file__).parent


# `azurite` has seen to it that Azurite is installed, or that this is skipped.
def test_the_command_line_starts_all_three_and_ends_with_its_input(azurite: Azurite) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.standins", "--container", "lake"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS.parent,
    )  # fmt: skip
    try:
        told = json.loads(read_line(process, "the stand-ins did not start"))
        environment, settings = told["environment"], told["settings"]
        assert Path(environment["CURL_CA_INFO"]).is_file()

        def ask() -> httpx.Response:
            resource = {"resource": "r", "client_id": settings["azure_client_id"]}
            return httpx.get(
                environment["IDENTITY_ENDPOINT"],
                params={"api-version": "2019-08-01"} | resource,
                headers={"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]},
                trust_env=False,
            )

        def order(**what: object) -> object:
            assert process.stdin is not None
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()
            return json.loads(read_line(process, "the stand-ins did not answer an order"))["asked"]

        assert ask().json()["access_token"]
        assert order(secrets={"public-token": "a=b"}) == {"identity": 1, "storage": 0, "vault": 0}
        order(identity=429)
        assert ask().status_code == 429
        order(identity="well")
        assert ask().status_code == 200
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        assert not Path(environment["CURL_CA_INFO"]).exists()
    finally:
        end(process, first=signal.SIGTERM)
