"""A stock DuckDB of any version in a process of its own, without anything of ours: `python run_client.py EXTENSIONS`.

Each line of input is a statement as JSON; each line of output `{"rows": [...]}` or `{"error": text}`, values as JSON
has them, else as text. `EXTENSIONS` is the directory from which it loads its extensions.
"""

from __future__ import annotations

import json
import sys

import duckdb


def main() -> None:
    with duckdb.connect(
        config={"extension_directory": sys.argv[1], "autoinstall_known_extensions": "false"}
    ) as connection:
        for line in sys.stdin:
            try:
                answer: dict[str, object] = {"rows": connection.execute(json.loads(line)).fetchall()}
            except duckdb.Error as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
