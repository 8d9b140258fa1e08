"""Where the settings come from, first match wins: a flag, the environment (`AZQUACK_<NAME>`), `.env`, the default.

Every command has its settings of `load`. A pair in a lake directory has defaults of its own (`azquack.replicas.local`).

Only a command reads them. The processes that the supervisor starts get theirs, and need no pydantic-settings.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from azquack.config.settings import PREFIX, Settings, shown
from azquack.errors import SettingError

# Variables of the test harness and of the container image's own build; they are no settings of a node.
FOREIGN = ("AZQUACK_TEST_", "AZQUACK_BENCH_")


class _Names(Settings, BaseSettings):
    """The table as pydantic-settings looks it up; no value is ever made of it, so no validator is built."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file_encoding="utf-8", enable_decoding=False, defer_build=True
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """The effective settings, and for each name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(name, value, origin) of every setting, secrets masked."""
        for name in Settings.model_fields:
            value = getattr(self.settings, name)
            yield name, shown(value), self.origins.get(name, "default")


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    env_file: Path | None = Path(".env"),
    defaults: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    origin: str = "default",
) -> Loaded:
    """The settings from `flags`, the environment and `env_file`.

    A flag that is None counts as not given. `defaults` stand in for those of the table, `fixed` is what the caller
    leaves no choice in; both are of `origin`. Raises `SettingError`, naming the setting, its value unless it is
    secret, and what is allowed; of several mistakes the first.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    for unknown in _unknown(os.environ):
        raise SettingError(unknown)
    sources: dict[str, PydanticBaseSettingsSource] = {
        "environment": EnvSettingsSource(_Names),
        ".env": DotEnvSettingsSource(_Names, env_file=env_file),
    }
    fixed = fixed or {}
    if refused := sorted(fixed.keys() & given.keys()):
        flag = f"--{refused[0].replace('_', '-')}"
        raise SettingError(f"{flag} cannot be chosen here: {origin} sets it itself")
    values, origins = {**given, **fixed}, {**dict.fromkeys(given, "flag"), **dict.fromkeys(fixed, origin)}
    for source_name, source in sources.items():
        for name, value in source().items():
            if name not in values:
                values[name], origins[name] = value, source_name
    for name, value in (defaults or {}).items():
        if name not in values:
            values[name], origins[name] = value, origin
    try:
        return Loaded(Settings.model_validate(values), origins)
    except ValidationError as error:
        raise SettingError(next(_sentences(error))) from None


def mistakes(env_file: Path | None = Path(".env")) -> list[str]:
    """Every mistake in the environment and `env_file`, each as the sentence that `load` would end with."""
    values = DotEnvSettingsSource(_Names, env_file=env_file)() | EnvSettingsSource(_Names)()
    try:
        Settings.model_validate(values)
        wrong: list[str] = []
    except ValidationError as error:
        wrong = list(_sentences(error))
    return [*_unknown(os.environ), *wrong]


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    for variable in environ:
        if not variable.startswith(PREFIX) or variable.startswith(FOREIGN):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, 1)
            hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
            yield f"{variable} is no setting of AzQuack{hint}"


def _sentences(error: ValidationError) -> Iterator[str]:
    for each in error.errors():
        name = str(each["loc"][0]) if each["loc"] else "?"
        field = Settings.model_fields.get(name)
        if field is None:
            near = difflib.get_close_matches(name, Settings.model_fields, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"{PREFIX}{name.upper()} is no setting of AzQuack{hint}"
            continue
        secret = "Secret" in str(field.annotation) or name == "storage_options"
        value = "" if secret else f" is {str(each['input'])!r}, which will not do"
        yield f"{PREFIX}{name.upper()}{value}: {each['msg'].removeprefix('Value error, ')}"
