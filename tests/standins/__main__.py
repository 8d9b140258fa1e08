"""`python -m tests.standins [--life SECONDS] [--container NAME]`: Azure's stand-ins.

Prints one JSON object, `{"environment": {…}, "settings": {…}}`, and runs until its standard input closes or it
is told to terminate. Each line of input is an order, one JSON object with any of

    secrets     {NAME: VALUE}, put into the vault; no argument list shows them
    identity    how its endpoint answers from now on: "well", "silent" or a status such as 429
    life        seconds that the endpoint's tokens live from now on

and is answered with `{"asked": {"identity": N, "storage": N, "vault": N}}`: the requests to the identity endpoint
so far, those among them for Blob Storage, and the requests to the vault.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.standins.azure import Azure


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins", description=__doc__)
    parser.add_argument("--life", type=float, default=3600.0, help="seconds that an identity's token lives")
    parser.add_argument("--container", action="append", default=[], help="a container to make")
    arguments = parser.parse_args()
    # An exit like any other, so that Azurite goes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="standins-") as directory:
        azure = Azure(Path(directory), life=arguments.life)
        try:
            azure.start()
            for name in arguments.container:
                azure.blob.make_container(name)
            print(json.dumps({"environment": azure.environment, "settings": azure.settings}), flush=True)
            with ExitStack() as trouble:
                for line in sys.stdin:
                    print(json.dumps({"asked": _obey(json.loads(line), azure, trouble)}), flush=True)
        finally:
            azure.stop()
    return 0


def _obey(order: Mapping[str, Any], azure: Azure, trouble: ExitStack) -> dict[str, int]:
    """Carries out `order`; the requests so far. `trouble` holds what is wrong with the identity endpoint."""
    azure.vault.secrets.update(order.get("secrets", {}))
    azure.identity.life = order.get("life", azure.identity.life)
    match order.get("identity"):
        case "well":
            trouble.close()
        case "silent":
            trouble.enter_context(azure.identity.silent())
        case int(status):
            trouble.enter_context(azure.identity.failing(status))
    asked = list(azure.identity.requests)
    storage = sum(each.query.get("resource") == "https://storage.azure.com" for each in asked)
    return {"identity": len(asked), "storage": storage, "vault": len(azure.vault.requests)}


if __name__ == "__main__":
    sys.exit(main())
