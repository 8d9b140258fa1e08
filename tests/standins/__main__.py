"""`python -m tests.standins [--life SECONDS] [--container NAME] [--secret NAME=VALUE]`: Azure's stand-ins.

Prints one JSON object, `{"environment": {…}, "settings": {…}}`, and runs until its standard input closes or it
is told to terminate.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from tests.standins.azure import Azure


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins", description=__doc__)
    parser.add_argument("--life", type=float, default=3600.0, help="seconds that an identity's token lives")
    parser.add_argument("--container", action="append", default=[], help="a container to make")
    parser.add_argument("--secret", action="append", default=[], help="NAME=VALUE, a secret of the vault")
    arguments = parser.parse_args()
    # An exit like any other, so that Azurite goes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="standins-") as directory:
        azure = Azure(Path(directory), life=arguments.life)
        try:
            azure.start()
            for name in arguments.container:
                azure.blob.make_container(name)
            azure.vault.secrets.update(secret.split("=", 1) for secret in arguments.secret)
            print(json.dumps({"environment": azure.environment, "settings": azure.settings}), flush=True)
            sys.stdin.read()
        finally:
            azure.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
