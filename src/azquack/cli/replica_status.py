"""What a replica says of itself over HTTP, and what of it is not well."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from azquack.process.health import Health

# Seconds that a replica may take to say how it is.
TIMEOUT = 5.0


def status_of(http_url: str) -> dict[str, Any]:
    """What the sidecar at `http_url` answers; no proxy stands before this machine."""
    try:
        with build_opener(ProxyHandler({})).open(f"{http_url}/status", timeout=TIMEOUT) as answer:
            said: dict[str, Any] = json.load(answer)
            return said
    except URLError as error:
        return {"ready": False, "problem": f"does not answer: {error.reason}"}
    except (OSError, ValueError) as error:
        return {"ready": False, "problem": f"does not answer: {error}"}


def is_well(replica: dict[str, Any]) -> bool:
    """Whether it is ready and nothing is known to fail; a full disk leaves a replica ready for its readers."""
    failing = [each for each in replica.get("checks", {}).values() if each["status"] == Health.ERROR]
    return replica["ready"] and not failing


def trouble_of(replica: dict[str, Any]) -> list[str]:
    """What is not well, in sentences."""
    if problem := replica.get("problem"):
        return [problem]
    checks = replica.get("checks", {}).items()
    return [
        f"{name}: {each['detail'] or each['status']}" for name, each in checks if each["status"] != Health.OK
    ]
