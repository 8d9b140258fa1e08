"""Settings: one table, where a value comes from, and what is said of a wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from azquack.cli import application
from azquack.config.settings import Settings, as_markdown
from azquack.config.sources import load
from azquack.errors import SettingError
from azquack.replicas.local import OWN, LakeDirectory
from azquack.replicas.query import memory_limit

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"AZQUACK_{name.upper()}", raising=False)


def test_duckdb_gets_most_of_the_memory_and_less_of_it_in_a_small_replica() -> None:
    gib = 1 << 30
    assert [memory_limit(gib // 2 * half, 1) for half in (1, 2, 3, 16)] == [
        "153MiB",
        "512MiB",
        "921MiB",
        "4915MiB",
    ]
    assert memory_limit(8 * gib, 2) == "2457MiB"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("AZQUACK_PORT=1\nAZQUACK_THREADS=1\nAZQUACK_HOST=file\n")
    monkeypatch.setenv("AZQUACK_PORT", "2")
    monkeypatch.setenv("AZQUACK_THREADS", "2")
    loaded = load({"port": "3", "data_path": None}, env_file=file)
    settings = loaded.settings
    assert (settings.port, settings.threads, settings.host) == (3, 2, "file")
    assert [loaded.origins[name] for name in ("port", "threads", "host")] == ["flag", "environment", ".env"]
    assert "data_path" not in loaded.origins


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("port", "high", ["AZQUACK_PORT", "'high'", "integer"]),
        ("port", "70000", ["AZQUACK_PORT", "'70000'", "65535"]),
        ("role", "boss", ["AZQUACK_ROLE", "'boss'", "'catalog' or 'query'"]),
        ("memory_limit", "lots", ["AZQUACK_MEMORY_LIMIT", "'lots'"]),
        ("storage_auth", "trust", ["AZQUACK_STORAGE_AUTH", "'trust'", "'managed_identity'"]),
        ("start_timeout", "-1", ["AZQUACK_START_TIMEOUT", "'-1'", "greater than 0"]),
        ("storage_options", "hunter2", ["AZQUACK_STORAGE_OPTIONS", "KEY=VALUE"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    name: str, value: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AZQUACK_{name.upper()}", value)
    with pytest.raises(SettingError) as caught:
        load(env_file=None)
    sentence = str(caught.value)
    assert all(part in sentence for part in parts), sentence
    assert "\n" not in sentence
    assert "hunter2" not in sentence


def test_a_misspelt_variable_is_refused_with_the_right_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZQUACK_DATAPATH", "/x")
    with pytest.raises(SettingError, match="did you mean AZQUACK_DATA_PATH"):
        load(env_file=None)


def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZQUACK_PUBLIC_TOKEN", "hunter2")
    monkeypatch.setenv("AZQUACK_S3_SECRET", "hunter2")
    monkeypatch.setenv("AZQUACK_STORAGE_OPTIONS", "session_token=hunter2")
    loaded = load(env_file=None)
    assert "hunter2" not in str(list(loaded.rows()))
    assert "session_token=" in str(list(loaded.rows()))
    assert loaded.settings.public_token is not None
    assert loaded.settings.public_token.get_secret_value() == "hunter2"


def test_the_page_of_settings_is_the_table() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == as_markdown(), "run make docs"
    assert all(f"`AZQUACK_{name.upper()}`" in page for name in Settings.model_fields)


def test_every_setting_says_what_it_does() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


# A value of each setting that is not its default; what is not named here is a text.
OTHERS = {
    "role": "query", "log_level": "warning", "memory_limit": "1GB", "spill_limit": "2GB", "target_file_size": "3MB",
    "lease_seconds": "20", "body_limit": "70000", "trusted_proxies": "*", "storage_auth": "key", "s3_url_style": "path",
    "token_source": "file", "public_role": "reader", "peers": "a=b:1", "jwt_roles": "a=reader",
    "storage_options": "A=b",
}  # fmt: skip


def other_than_default(name: str) -> str:
    field = Settings.model_fields[name]
    kinds = str(field.annotation)
    if name in OTHERS:
        return OTHERS[name]
    if "bool" in kinds:
        return "false" if field.default is True else "true"
    if "int" in kinds or "float" in kinds:
        return "9"
    return "something"


@pytest.mark.parametrize("name", Settings.model_fields)
@pytest.mark.parametrize("source", ["environment", ".env", "flag"])
def test_what_azquack_config_says_is_what_a_pair_runs_with(
    name: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every setting, from every source: the pair follows it, or `config` says that the pair sets it itself."""
    monkeypatch.chdir(tmp_path)
    value, lake = other_than_default(name), LakeDirectory(tmp_path / "lake")
    flags = {name: value} if source == "flag" else {}
    if source == "environment":
        monkeypatch.setenv(f"AZQUACK_{name.upper()}", value)
    elif source == ".env":
        (tmp_path / ".env").write_text(f"AZQUACK_{name.upper()}={value}\n")
    if name in OWN:
        if source == "flag":
            with pytest.raises(SettingError, match="cannot be chosen here: the pair sets it itself"):
                lake.load(flags)
        else:
            assert getattr(lake.load().settings, name) == OWN[name]
            assert lake.load().origins[name] == "the pair"
        return
    said, runs = load(flags), lake.load(flags)
    assert getattr(runs.settings, name) == getattr(said.settings, name) != Settings.model_fields[name].default
    assert said.origins[name] == runs.origins[name] == source


def test_a_pair_has_defaults_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = LakeDirectory(tmp_path / "lake").load()
    own = {name for name, origin in loaded.origins.items() if origin == "the pair"}
    assert own - OWN.keys() == {
        "catalog_dir", "data_path", "public_role", "principals_file", "token_source", "token_dir"
    }  # fmt: skip
    assert loaded.settings.public_role == "admin"


def test_config_of_a_pair_is_the_same_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZQUACK_PUBLIC_ROLE", "reader")
    result = CliRunner().invoke(application(), ["config", "--dir", "lake", "--format", "json"])
    shown = json.loads(result.stdout)
    assert {name: each["origin"] for name, each in shown.items() if each["origin"] != "default"} == dict(
        LakeDirectory(tmp_path / "lake").load().origins
    )
    assert shown["public_role"] == {"value": "reader", "origin": "environment"}
