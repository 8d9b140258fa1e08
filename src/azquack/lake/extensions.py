"""DuckDB's extensions, from the wheels that pyproject.toml pins, never from the network.

The wheels carry DuckDB's own signed files. DuckDB finds an extension by name in
`<extension_directory>/<version>/<platform>/<name>.duckdb_extension`
(https://duckdb.org/docs/stable/extensions/advanced_installation_methods), so a directory of links to the
wheels' files makes `LOAD name` and autoloading work on a machine with no network.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import duckdb

from azquack.errors import StartError

# Two wheels name their file by an alias of the name under which DuckDB looks for it.
_FILE_NAMES = {"postgres": "postgres_scanner", "sqlite": "sqlite_scanner"}
NAMES = ("httpfs", "quack", "ducklake", "azure", "aws", "postgres", "sqlite")


def file_of(name: str) -> Path:
    """The signed file of extension `name`. Raises `StartError` when its wheel is not installed."""
    spec = find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if found.is_file():
            return found
    raise StartError(
        f"the DuckDB extension {name} for DuckDB {duckdb.__version__} is not installed: run make setup"
    )


def link_all(directory: Path) -> None:
    """Fill `directory` so that it can be DuckDB's `extension_directory`."""
    with duckdb.connect(":memory:") as connection:
        row = connection.execute("PRAGMA platform").fetchone()
    assert row is not None
    folder = directory / f"v{duckdb.__version__}" / str(row[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        link = folder / f"{_FILE_NAMES.get(name, name)}.duckdb_extension"
        if not link.exists():
            link.symlink_to(file_of(name))


def config(directory: Path) -> dict[str, str | bool | int | float | list[str]]:
    """The settings of a DuckDB that finds its extensions in `directory` and nowhere else."""
    return {"extension_directory": str(directory), "autoinstall_known_extensions": "false"}


def program() -> Path:
    """The stock `duckdb` program of the pinned wheel. Raises `StartError` when it is not installed."""
    spec = find_spec("duckdb_cli")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(folder) / "duckdb").is_file():
            return found
    raise StartError("the duckdb program is not installed: run make setup")


def versions() -> dict[str, str]:
    """DuckDB's version and those of the extensions' wheels."""
    return {"duckdb": duckdb.__version__} | {name: version(f"duckdb-extension-{name}") for name in NAMES}
