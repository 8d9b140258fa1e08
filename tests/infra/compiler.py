"""Bicep's compiler over `infra/`: what it makes is committed, so that a test needs no compiler to read it.

    infra/compiled/*.json              the templates, as Azure gets them
    infra/snapshots/*.snapshot.json    what a deployment with the parameters beside it would make, evaluated
    infra/compiled/sources.json        a hash of what they were made of, and the compiler's version

Made anew, after a change to `infra/`, by

    python -m tests.infra.compiler
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
COMPILED = INFRA / "compiled"
SNAPSHOTS = INFRA / "snapshots"
SOURCES = COMPILED / "sources.json"
TEMPLATES = ("main", "azquack")
# What a snapshot is told of the place where it would be deployed.
TENANT = "00000000-0000-0000-0000-000000000001"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000002"
PLACE = ("--tenant-id", TENANT, "--subscription-id", SUBSCRIPTION, "--location", "westeurope")


def find() -> str | None:
    """The first compiler of: $BICEP, one beside the checkout, on PATH, azd's copy, az's copy."""
    home = Path.home()
    places = [
        os.environ.get("BICEP"),
        str(ROOT.parent / "shared" / "bin" / "bicep"),
        shutil.which("bicep"),
        str(home / ".azd" / "bin" / "bicep"),
        str(home / ".azure" / "bin" / "bicep"),
    ]
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


def sources() -> list[Path]:
    """Everything that the compiled files are made of."""
    found = [*INFRA.rglob("*.bicep"), *SNAPSHOTS.glob("*.bicepparam")]
    return sorted([*found, INFRA / "abbreviations.json", INFRA / "modules" / "workbook.json"])


def digest() -> str:
    """The SHA-256 over the sources' names and contents."""
    whole = hashlib.sha256()
    for path in sources():
        whole.update(f"{path.relative_to(INFRA)}\n".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


class Compiler:
    """The program at `path`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.version = re.findall(r"\d+\.\d+\.\d+", self.run("--version"))[0]

    def run(self, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
        """Its output; raises `CalledProcessError` with what it said."""
        # A failure shows its diagnostics: they are all that there is to see.
        done = subprocess.run(
            [self._path, *arguments], text=True, capture_output=True, timeout=600, check=False, env=env
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout, done.stderr)
        return done.stdout

    def complaints(self) -> list[str]:
        """What the linter says of all files when every warning of bicepconfig.json counts as an error."""
        with tempfile.TemporaryDirectory() as directory:
            strict = Path(directory) / "bicepconfig.json"
            shipped = (ROOT / "bicepconfig.json").read_text(encoding="utf-8")
            strict.write_text(shipped.replace('"warning"', '"error"'), encoding="utf-8")
            said = []
            for path in sorted(INFRA.rglob("*.bicep")):
                done = subprocess.run(
                    [self._path, "build", path, "--stdout", "--config", strict],
                    text=True, capture_output=True, timeout=120, check=False,
                )  # fmt: skip
                said += done.stderr.splitlines()
        return sorted(set(said))

    def unformatted(self) -> list[str]:
        """The files that the compiler would write otherwise."""
        files = sorted([*INFRA.rglob("*.bicep"), *INFRA.rglob("*.bicepparam")])
        return [
            str(path.relative_to(ROOT))
            for path in files
            if self.run("format", path, "--stdout") != path.read_text(encoding="utf-8")
        ]

    def made(self) -> Iterator[tuple[Path, str]]:
        """Each file that is committed, and the text that it should have."""
        for name in TEMPLATES:
            template = json.loads(self.run("build", INFRA / f"{name}.bicep", "--stdout"))
            yield COMPILED / f"{name}.json", _text(_without_generator(template))
        for path in sorted(SNAPSHOTS.glob("*.bicepparam")):
            yield _snapshot(path.stem), _text(self._snapshot(path))

    def parameters(self, path: Path, environment: dict[str, str]) -> dict[str, Any]:
        """The parameters that a `.bicepparam` file gives in `environment`, as azd reads them."""
        said = self.run("build-params", path, "--stdout", env=os.environ | environment)
        given: dict[str, Any] = json.loads(json.loads(said)["parametersJson"])["parameters"]
        return {name: each["value"] for name, each in given.items()}

    def _snapshot(self, path: Path) -> Any:
        where: tuple[str, ...] = ("--deployment-name", path.stem)
        if "main.bicep" not in path.read_text(encoding="utf-8"):
            where = (*where, "--resource-group", "rg-mylake")
        written = _snapshot(path.stem)
        before = written.read_bytes() if written.exists() else None
        try:
            self.run("snapshot", path, *PLACE, *where)
            return json.loads(written.read_text(encoding="utf-8"))
        finally:
            if before is not None:
                written.write_bytes(before)


def snapshot(name: str) -> dict[str, Any]:
    """The committed snapshot of `infra/snapshots/name.bicepparam`."""
    read: dict[str, Any] = json.loads(_snapshot(name).read_text(encoding="utf-8"))
    return read


def template(name: str) -> dict[str, Any]:
    """The committed template of `infra/name.bicep`."""
    read: dict[str, Any] = json.loads((COMPILED / f"{name}.json").read_text(encoding="utf-8"))
    return read


def _snapshot(name: str) -> Path:
    return SNAPSHOTS / f"{name}.snapshot.json"


def _without_generator(value: Any) -> Any:
    """Without the compiler's version and hash, which change when nothing else does."""
    if isinstance(value, dict):
        return {key: _without_generator(each) for key, each in value.items() if key != "_generator"}
    return [_without_generator(each) for each in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Writes the files anew; 1 when there is no compiler or it refuses the sources."""
    if (path := find()) is None:
        print("no Bicep compiler: set BICEP, or install azd or az, which bring one", file=sys.stderr)
        return 1
    compiler = Compiler(path)
    try:
        written = dict(compiler.made())
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        return 1
    for file, text in written.items():
        file.write_text(text, encoding="utf-8")
    SOURCES.write_text(_text({"sha256": digest(), "bicep": compiler.version}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
