"""dbt's adapter for AzQuack. dbt finds it by its name, `type: azquack`, and asks for `Plugin`."""

from dbt.adapters.azquack.connections import AzQuackConnectionManager
from dbt.adapters.azquack.credentials import AzQuackCredentials
from dbt.adapters.azquack.impl import AzQuackAdapter
from dbt.adapters.base import AdapterPlugin
from dbt.include import azquack

__all__ = ["AzQuackAdapter", "AzQuackConnectionManager", "AzQuackCredentials", "Plugin"]

Plugin = AdapterPlugin(
    adapter=AzQuackAdapter,
    credentials=AzQuackCredentials,
    include_path=azquack.PACKAGE_PATH,
    dependencies=["duckdb"],
)
