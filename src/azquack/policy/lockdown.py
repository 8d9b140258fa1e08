"""The statements that lock a node's DuckDB once the lake is attached: the layer under the policy."""

from __future__ import annotations

from azquack.sql import Statement, literal, plain

# How a session shows times is its own business; DuckDB keeps these per session. The third is the gateway's, which fits
# messages to what is asked of a node at once: the policy lets no user set it.
OPEN_SETTINGS = ("TimeZone", "Calendar", "quack_fetch_batch_chunks")


def lockdown(data_path: str) -> tuple[Statement, ...]:
    """What a node runs last, in this order: nothing of it can be taken back.

    Files outside `data_path`, other hosts, extensions and settings are out of reach from then on; the stored
    secrets must have been dropped before. Source:
    https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
    """
    return (
        plain("SET GLOBAL python_enable_replacements = false"),
        plain("SET GLOBAL allow_community_extensions = false"),
        plain("SET GLOBAL autoinstall_known_extensions = false"),
        plain("SET GLOBAL autoload_known_extensions = false"),
        plain(f"SET GLOBAL allowed_directories = {_list(data_path)}"),
        plain("SET GLOBAL enable_external_access = false"),
        plain(f"SET GLOBAL allowed_configs = {_list(*OPEN_SETTINGS)}"),
        plain("SET GLOBAL lock_configuration = true"),
    )


def _list(*values: str) -> str:
    # `[…]` is short for list_value(…), which is sought in the lake first: a macro of that name would say what is open.
    return f"system.main.list_value({', '.join(map(literal, values))})"
