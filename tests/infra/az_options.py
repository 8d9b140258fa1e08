"""The options of the `az` commands that the scripts call, as the real `az` gives them.

`az-options.json` holds them, so that no test needs the 400 MB of `az`. Made anew, and for a new command, by

    python -m tests.infra.az_options PATH/TO/az > tests/infra/az-options.json
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = HERE / "az-options.json"
_CALL = re.compile(r"(?<![\w-])az ((?:[a-z][a-z-]* )+)(--[^\n|;]*)")


def calls(text: str) -> list[tuple[str, list[str]]]:
    """(command, options) of each call of `az` with options in a script or page."""
    joined = re.sub(r"\s*[\\`]\n\s*", " ", text)
    return [
        (found[1].strip(), re.findall(r"(?<!\S)--[a-z-]+", found[2].split(" az ")[0]))
        for found in _CALL.finditer(joined)
    ]


def files() -> list[Path]:
    """Everything that calls `az`, or tells people to."""
    hooks, pages = (ROOT / "infra" / "hooks").iterdir(), (ROOT / "docs").glob("*.md")
    return sorted([*(ROOT / "scripts").glob("*.sh"), *hooks, *pages])


def options(az: str, command: str) -> dict[str, list[str]]:
    """Every option of `command`, and those without which it does nothing."""
    done = subprocess.run(
        [az, *command.split(), "--help"], text=True, capture_output=True, timeout=120, check=True
    )
    listed = re.findall(r"^ {4}(--[a-z-]+(?: +-{1,2}[a-z-]+)*)(.*)", done.stdout, re.MULTILINE)
    names = {name for found, _ in listed for name in found.split() if name.startswith("--")}
    required = {found.split()[0] for found, rest in listed if "[Required]" in rest}
    return {"options": sorted(names), "required": sorted(required)}


def main(az: str) -> None:
    """Prints the table anew."""
    version = json.loads(subprocess.run([az, "version"], capture_output=True, check=True).stdout)["azure-cli"]
    found = sorted({command for path in files() for command, _ in calls(path.read_text(encoding="utf-8"))})
    table: dict[str, Any] = {"azure-cli": version, "commands": {each: options(az, each) for each in found}}
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
