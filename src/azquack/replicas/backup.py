"""The backup process of a catalog replica."""

from __future__ import annotations

from pydantic import SecretStr

from azquack.catalog.backup.places import place_for
from azquack.catalog.epochs import PARTS
from azquack.catalog.lease.ownership import Ownership
from azquack.config.settings import Settings
from azquack.process.pipes import Message
from azquack.replicas.child import ChildSpec, Ports

# What the place of the backups and their retention are made of.
_SETTINGS = ("catalog_dir", "azure_account", "azure_client_id", "azure_endpoint", "azure_connection_string")


def backup(name: str, node: str, token: str, settings: Settings, owned: Ownership) -> ChildSpec:
    """The process `name`, which backs up what the node `node` serves, the file of `owned`.

    The catalog serves on when it is down. Raises `SettingError`.
    """
    # What is wrong with the settings should be said now, not by a child later.
    place_for(settings)

    def config(ports: Ports) -> Message:
        log = {"name": name, "log_level": settings.log_level}
        return {
            "op": "configure",
            **log,
            "every": settings.backup_every,
            "files": [f"{owned.file}{suffix}" for suffix in PARTS],
            "run": {
                "op": "configure",
                **log,
                "uri": f"quack:127.0.0.1:{ports[node]}",
                "token": token,
                "settings": _values(settings),
            },
        }

    return ChildSpec(
        name, "azquack.catalog.backup", config, settings.start_timeout, vital=False, owner_only=True
    )


def _values(settings: Settings) -> Message:
    names = [name for name in Settings.model_fields if name.startswith("backup_") or name in _SETTINGS]
    values = {name: getattr(settings, name) for name in names}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
    }
