"""The deployments under infra/, as the compiler makes them: whole, in step with azquack, and with no right too many."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from azquack.cli import COMMANDS
from azquack.config.settings import PREFIX, Settings
from azquack.gateway.audit import Audit
from azquack.process.logs import JsonFormatter
from tests.infra import compiler, parameters
from tests.infra.compiler import snapshot, template
from tests.infra.conftest import INFRA, ROOT, load_json
from tests.infra.test_arm import SNAPSHOTS

ROLES = {
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
}
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
NAMES = {
    "Microsoft.App/containerApps": r"[a-z][a-z0-9-]{0,30}[a-z0-9]",
    "Microsoft.App/jobs": r"[a-z][a-z0-9-]{0,30}[a-z0-9]",
    "Microsoft.App/managedEnvironments": r"[a-zA-Z][a-zA-Z0-9-]{0,58}[a-zA-Z0-9]",
    "Microsoft.ContainerRegistry/registries": r"[a-zA-Z0-9]{5,50}",
    "Microsoft.KeyVault/vaults": r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.ManagedIdentity/userAssignedIdentities": r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}",
    "Microsoft.OperationalInsights/workspaces": r"[a-zA-Z0-9][a-zA-Z0-9-]{2,61}[a-zA-Z0-9]",
    "Microsoft.Network/virtualNetworks": r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}[a-zA-Z0-9_]",
    "Microsoft.Resources/resourceGroups": r"[\w().-]{1,89}[\w()-]",
}


def resources(name: str, kind: str = "") -> list[dict[str, Any]]:
    """What the snapshot `name` holds, of the type `kind` or all."""
    found: list[dict[str, Any]] = snapshot(name)["predictedResources"]
    return [each for each in found if kind in ("", each["type"])]


def modules(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The template `name` and those of its modules."""

    def walk(at: str, whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        yield at, whole
        listed = whole["resources"]
        for each in listed.values() if isinstance(listed, dict) else listed:
            if each["type"] == "Microsoft.Resources/deployments":
                yield from walk(f"{at}/{each['name']}", each["properties"]["template"])

    yield from walk(name, template(name))


ALL = [pytest.param(whole, id=at) for name in compiler.TEMPLATES for at, whole in modules(name)]
each_template = pytest.mark.parametrize("whole", ALL)


def test_what_is_committed_was_made_of_these_sources() -> None:
    made_of = load_json(compiler.SOURCES)["sha256"]
    assert made_of == compiler.digest(), (
        "infra/ has changed: run python -m tests.infra.compiler, and read its diff"
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_compiler_finds_nothing_and_makes_what_is_committed() -> None:
    if (path := compiler.find()) is None:
        pytest.skip("no Bicep compiler ($BICEP, beside the checkout, on PATH, azd's, az's): not compiled")
    program = compiler.Compiler(path)
    assert program.complaints() == []
    assert program.unformatted() == []
    if program.version != load_json(compiler.SOURCES)["bicep"]:
        pytest.skip(
            f"Bicep {program.version} is not the version that made what is committed: compiled, not compared"
        )
    for file, text in program.made():
        assert file.read_text(encoding="utf-8") == text, f"{file.name}: run python -m tests.infra.compiler"


def test_a_users_compiler_stops_at_errors_only() -> None:
    rules = load_json(ROOT / "bicepconfig.json")["analyzers"]["core"]["rules"]
    assert {each["level"] for each in rules.values()} == {"warning"}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_nothing_is_left_to_be_diagnosed(name: str) -> None:
    assert snapshot(name)["diagnostics"] == []


@each_template
def test_every_parameter_is_described_and_says_whether_it_is_required(whole: dict[str, Any]) -> None:
    for name, parameter in whole["parameters"].items():
        text = parameter["metadata"]["description"]
        kind = "Optional. " if "defaultValue" in parameter else "Required. "
        assert text.startswith(kind), f"{name}: {text!r} should start with {kind!r}"
        assert text.endswith("."), f"{name}: {text!r} is no sentence"


@each_template
def test_every_output_is_described_and_no_secret(whole: dict[str, Any]) -> None:
    secret = {name for name, each in whole["parameters"].items() if each["type"] == "securestring"}
    for name, output in whole.get("outputs", {}).items():
        assert output["metadata"]["description"], f"{name} has no description"
        assert "listKeys" not in str(output["value"]), f"{name} gives a key away"
        assert not secret & set(re.findall(r"parameters\('(\w+)'\)", str(output["value"]))), name


@each_template
def test_tokens_are_secure_parameters(whole: dict[str, Any]) -> None:
    for name, parameter in whole["parameters"].items():
        if re.search(r"(token|password|key|principals)$", name, re.IGNORECASE):
            assert parameter["type"] == "securestring", f"{name} would show in the deployment's history"


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_names_are_ones_that_azure_takes(name: str) -> None:
    for each in resources(name):
        if pattern := NAMES.get(each["type"]):
            assert re.fullmatch(pattern, each["name"]), f"{each['type']}: {each['name']}"


def test_the_longest_environment_still_has_a_group() -> None:
    longest = template("main")["parameters"]["environmentName"]["maxLength"]
    assert re.fullmatch(NAMES["Microsoft.Resources/resourceGroups"], "rg-" + "a" * longest)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_resources_carry_the_environment_tag(name: str) -> None:
    for each in resources(name):
        if "location" in each:
            assert each["tags"]["azd-env-name"] == "mylake", f"azd cannot find {each['name']}"


@pytest.mark.parametrize("name", ["apps", "apps-full"])
def test_what_is_deployed_is_what_the_hook_keeps(name: str) -> None:
    deployed = {each["tags"]["azquackPart"] for each in resources(name)}
    assert deployed == set(snapshot(name)["outputs"]["DEPLOYED_PARTS"].split(","))


def test_there_is_no_postgres() -> None:
    assert not [each for name in SNAPSHOTS for each in resources(name) if "postgres" in each["type"].lower()]


def test_the_apps_take_only_what_the_ground_puts_out() -> None:
    # azd itself sets the first; a LAKE_ variable is the operator's.
    known = {"AZURE_ENV_NAME", "AZURE_LOCATION", "SERVICE_AZQUACK_IMAGE_NAME", *template("main")["outputs"]}
    read = parameters.variables(INFRA / "azquack.bicepparam")
    assert {each for each in read if not each.startswith("LAKE_")} - known == set()


@pytest.mark.parametrize("name", ["ground", "ground-private"])
def test_no_identity_is_given_more_than_its_role_needs(name: str) -> None:
    granted = set()
    for each in resources(name, "Microsoft.Authorization/roleAssignments"):
        who = re.findall(r"userAssignedIdentities/id-(\w+)-", each["properties"]["principalId"]) or [
            "operator"
        ]
        scope = re.findall(r"/subscriptions/[^']+?(?=/providers/Microsoft.Authorization|')", each["id"])[0]
        role = each["properties"]["roleDefinitionId"].rpartition("/")[2]
        on = (
            scope.rpartition("/")[2]
            if "/containers/" in scope or "/secrets/" in scope
            else scope.split("/")[-2]
        )
        granted.add((who[0], ROLES[role], on))
    assert granted == {
        ("catalog", "Storage Blob Data Contributor", "backups"),
        ("catalog", "Storage Blob Data Contributor", "lease"),
        ("catalog", "Key Vault Secrets User", "internal-token"),
        ("query", "Storage Blob Data Contributor", "lake"),
        ("query", "Storage Blob Data Reader", "backups"),
        ("query", "Key Vault Secrets User", "internal-token"),
        ("query", "Key Vault Secrets User", "public-token"),
        ("query", "Key Vault Secrets User", "principals"),
        ("catalog", "AcrPull", "registries"),
        ("query", "AcrPull", "registries"),
        ("operator", "Key Vault Secrets Officer", "vaults"),
        ("operator", "Storage Blob Data Reader", "storageAccounts"),
    }


def test_a_secret_that_exists_is_never_written_over() -> None:
    (vault,) = [whole for at, whole in modules("main") if at.endswith("key-vault")]
    written = [each for each in _declared(vault) if each["type"] == "Microsoft.KeyVault/vaults/secrets"]
    new = [each for each in written if not each.get("existing")]
    assert len(new) == 3
    assert all("onlyIfNotExists" in each["@options"] for each in new)


def _declared(whole: dict[str, Any]) -> list[dict[str, Any]]:
    listed = whole["resources"]
    return list(listed.values()) if isinstance(listed, dict) else listed


def _containers(name: str) -> dict[str, dict[str, Any]]:
    """part → its one container, of every app and job."""
    found = [*resources(name, "Microsoft.App/containerApps"), *resources(name, "Microsoft.App/jobs")]
    return {each["tags"]["azquackPart"]: each["properties"]["template"]["containers"][0] for each in found}


@pytest.mark.parametrize("name", ["apps", "apps-full"])
def test_every_setting_of_a_container_is_one_that_azquack_takes(name: str) -> None:
    for part, container in _containers(name).items():
        given = {each["name"].removeprefix(PREFIX).lower(): each["value"] for each in container["env"]}
        assert set(given) <= set(Settings.model_fields), part
        # An expression stands for what only Azure knows: an id or a name.
        known = {key: value.replace("[", "") for key, value in given.items() if not value.startswith("[")}
        Settings(**known)


def test_jobs_run_commands_that_azquack_has() -> None:
    commands = set(COMMANDS)
    jobs = {part: each["args"][0] for part, each in _containers("apps").items() if "args" in each}
    assert jobs == {"maintenance": "maintain", "restore": "restore"}
    assert set(jobs.values()) <= commands


@pytest.mark.parametrize("name", ["apps", "apps-full"])
def test_a_start_is_given_the_time_that_it_may_take(name: str) -> None:
    for part, container in _containers(name).items():
        given = {each["name"]: each["value"] for each in container["env"]}
        for probe in (each for each in container.get("probes", []) if each["type"] == "Startup"):
            longest = float(given["AZQUACK_START_TIMEOUT"])
            assert probe["failureThreshold"] <= 10, "Container Apps allows no more"
            assert probe["failureThreshold"] * probe["periodSeconds"] >= longest + 20, part


def queries() -> dict[str, str]:
    """Every query over the logs, of the alerts and of the workbook."""
    found = {
        each["name"]: each["properties"]["criteria"]["allOf"][0]["query"]
        for each in resources("apps-full", "Microsoft.Insights/scheduledQueryRules")
    }
    for item in load_json(INFRA / "modules" / "workbook.json")["items"]:
        if item["type"] == 3:
            found[item["name"]] = item["content"]["query"]
    return found


def test_queries_look_for_lines_that_azquack_writes() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    looked_for = []
    for query in queries().values():
        for words in re.findall(r"line\.message (?:==|in) (\([^)]+\)|\"[^\"]+\")", query):
            looked_for += re.findall(r'"([^"]+)"', words)
    assert len(looked_for) > 5, "no query looks at a message"
    assert [message for message in looked_for if f'"{message}"' not in source] == []


def test_queries_read_fields_that_azquack_writes() -> None:
    line = json.loads(JsonFormatter("p").format(logging.makeLogRecord({"msg": "m", "levelname": "INFO"})))
    lines: list[str] = []
    audit = Audit(lines.append)
    audit.finish(audit.start(principal="p", session="s", node="n", kind="k"), "refused", reason="r", bytes=1)
    known = {*line, *(name for each in lines for name in json.loads(each))}
    # What `extra` gives to the messages that the queries name.
    known |= {"backup", "bytes", "seconds", "reason", "epoch"}
    for name, query in queries().items():
        assert set(re.findall(r"\bline\.(\w+)", query)) <= known, name


def test_the_workbook_is_made_of_what_its_module_replaces() -> None:
    path = INFRA / "modules" / "workbook.json"
    text, book = path.read_text(encoding="utf-8"), load_json(path)
    words = set(re.findall(r"'([A-Z]+_[A-Z]+)'", path.with_suffix(".bicep").read_text(encoding="utf-8")))
    assert words == set(re.findall(r"\b(?!ContainerApp)[A-Z]+_[A-Z]+\b", text)) - {"TimeRange"}
    names = [item["name"] for item in book["items"]]
    assert len(set(names)) == len(names), "two items have one name"
    assert {item["type"] for item in book["items"]} == {1, 3, 9, 10}


def test_the_readme_of_infra_names_every_module() -> None:
    text = (INFRA / "README.md").read_text(encoding="utf-8")
    for path in sorted((INFRA / "modules").glob("*.bicep")):
        assert f"`{path.name}`" in text, f"infra/README.md says nothing of {path.name}"


def test_every_azd_variable_is_documented() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    names = {*template("main")["outputs"], *template("azquack")["outputs"]}
    for name in compiler.TEMPLATES:
        names |= parameters.variables(INFRA / f"{name}.bicepparam")
    assert {name for name in names if f"`{name}`" not in text} == set()
