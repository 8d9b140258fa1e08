"""The Bicep under infra/ parses, agrees with itself, and grants no more than it should."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from azquack.cli import application
from azquack.door.audit import Audit
from azquack.logs import JsonFormatter
from azquack.settings import PREFIX, Settings
from tests.infra import bicep
from tests.infra.conftest import INFRA, ROOT, each_file, load_json


@each_file
def test_parses(path: Path, files: dict[Path, bicep.File]) -> None:
    assert files[path].errors == []


@each_file
def test_every_parameter_is_described_and_says_whether_it_is_required(
    path: Path, files: dict[Path, bicep.File]
) -> None:
    for parameter in files[path].parameters.values():
        text = parameter.decorators.get("description", [""])[0]
        kind = "Required. " if parameter.default is None else "Optional. "
        assert text.startswith(kind), f"{parameter.name}: {text!r} should start with {kind!r}"
        assert text.endswith("."), f"{parameter.name}: {text!r} is no sentence"


@each_file
def test_every_output_is_described_and_no_secret(path: Path, files: dict[Path, bicep.File]) -> None:
    for output in files[path].outputs.values():
        assert output.decorators.get("description"), f"{output.name} has no description"
        assert output.default is not None
        value = (output.default.text or b"").decode()
        assert "listKeys" not in value, f"{output.name} gives a key away"
        assert not {"publicToken", "internalToken", "principals"} & set(re.findall(r"\w+", value)), (
            output.name
        )


@each_file
def test_tokens_are_secure_parameters(path: Path, files: dict[Path, bicep.File]) -> None:
    for parameter in files[path].parameters.values():
        if re.search(r"(token|password|key|principals)$", parameter.name, re.IGNORECASE):
            assert "secure" in parameter.decorators, (
                f"{parameter.name} would show in the deployment's history"
            )


@each_file
def test_every_symbol_is_declared_and_used(path: Path, files: dict[Path, bicep.File]) -> None:
    file = files[path]
    assert file.used - file.declared == set(), "used but not declared"
    assert {*file.parameters, *file.variables} - file.used == set(), "declared but not used"


@each_file
def test_modules_get_what_they_ask_for(path: Path, files: dict[Path, bicep.File]) -> None:
    for module in files[path].modules.values():
        target = files[(path.parent / module.path).resolve()]
        asked = target.parameters
        required = {name for name, parameter in asked.items() if parameter.default is None}
        assert set(module.params) - set(asked) == set(), (
            f"{module.symbol}: {module.path} has no such parameter"
        )
        assert required - set(module.params) == set(), f"{module.symbol}: {module.path} needs these"
        for name, value in module.params.items():
            _fits(f"{module.symbol}.{name}", value, asked[name])


def _fits(where: str, value: Any, parameter: bicep.Parameter) -> None:
    if isinstance(value, str) and value.startswith("["):
        return
    python = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}[parameter.type]
    assert isinstance(value, python), f"{where}: {value!r} is no {parameter.type}"
    allowed = parameter.decorators.get("allowed")
    assert allowed is None or value in allowed[0], f"{where}: {value!r} is none of {allowed}"


@each_file
def test_outputs_that_are_read_exist(path: Path, files: dict[Path, bicep.File]) -> None:
    file = files[path]
    for symbol, output in file.references:
        module = file.modules[symbol]
        assert output in files[(path.parent / module.path).resolve()].outputs, f"{symbol}.outputs.{output}"


@pytest.mark.parametrize("name", ["main", "azquack"])
def test_parameter_file_gives_every_parameter(name: str, files: dict[Path, bicep.File]) -> None:
    given = load_json(INFRA / f"{name}.parameters.json")["parameters"]
    assert set(given) == set(files[INFRA / f"{name}.bicep"].parameters)


def test_the_apps_take_only_what_the_ground_puts_out(files: dict[Path, bicep.File]) -> None:
    # azd itself sets the first four; a LAKE_ variable is the operator's and has a default in the file.
    known = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID", "SERVICE_AZQUACK_IMAGE_NAME"}
    known |= set(files[INFRA / "main.bicep"].outputs)
    text = (INFRA / "azquack.parameters.json").read_text(encoding="utf-8")
    for variable, default in re.findall(r"\$\{(\w+)(=[^}]*)?\}", text):
        assert variable in known or (variable.startswith("LAKE_") and default), variable


def test_every_setting_of_a_container_is_one_that_azquack_knows(files: dict[Path, bicep.File]) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    names = set(re.findall(rf"'({PREFIX}\w+)'", text))
    assert names, "no container has a setting"
    assert {name.removeprefix(PREFIX).lower() for name in names} - set(Settings.model_fields) == set()


def test_jobs_run_commands_that_azquack_has(files: dict[Path, bicep.File]) -> None:
    commands = [command.name for command in application("").registered_commands]
    jobs = [module for module in files[INFRA / "azquack.bicep"].modules.values() if "job" in module.path]
    assert [job.params["arguments"][0] for job in jobs] == ["maintain", "restore"]
    assert {job.params["arguments"][0] for job in jobs} <= set(commands)


def test_no_identity_is_given_more_than_its_role_needs(files: dict[Path, bicep.File]) -> None:
    # Symbol of the scope → role, for everything granted to the two identities.
    granted: dict[tuple[str, str], set[str]] = {}
    for file in files.values():
        for resource in file.resources.values():
            if resource.type == "Microsoft.Authorization/roleAssignments":
                who = resource.body["properties"]["principalId"].strip("[]")
                role = resource.body["properties"]["roleDefinitionId"].strip("[]").removeprefix("roles.")
                granted.setdefault((file.path.stem, who), set()).add(f"{role} on {resource.body['scope']}")
    assert granted == {
        ("data-storage", "catalogPrincipalId"): {
            "blobDataContributor on [backups]",
            "blobDataContributor on [lease]",
        },
        ("data-storage", "queryPrincipalId"): {
            "blobDataContributor on [lake]",
            "blobDataReader on [backups]",
        },
        ("data-storage", "operatorPrincipalId"): {"blobDataReader on [account]"},
        ("key-vault", "catalogPrincipalId"): {"secretsUser on [internalSecret]"},
        ("key-vault", "queryPrincipalId"): {
            "secretsUser on [internalSecret]",
            "secretsUser on [principalsSecret]",
            "secretsUser on [publicSecret]",
        },
        ("key-vault", "operatorPrincipalId"): {"secretsOfficer on [vault]"},
        ("registry", "principalId"): {"acrPull on [registry]"},
    }


def _queries() -> dict[str, str]:
    """Every query over the logs, of the alerts and of the workbook."""
    alerts = bicep.variable(bicep.read(INFRA / "modules" / "alerts.bicep"), "rules")
    found = {each["name"]: each["query"] for each in alerts}
    for item in load_json(INFRA / "modules" / "workbook.json")["items"]:
        if item["type"] == 3:
            found[item["name"]] = item["content"]["query"]
    return found


def test_queries_look_for_lines_that_azquack_writes() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    queries = _queries()
    looked_for = []
    for query in queries.values():
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
    for name, query in _queries().items():
        assert set(re.findall(r"\bline\.(\w+)", query)) <= known, name


def test_the_workbook_is_made_of_what_its_module_replaces() -> None:
    path = INFRA / "modules" / "workbook.json"
    text, book = path.read_text(encoding="utf-8"), load_json(path)
    words = set(re.findall(r"'([A-Z]+_[A-Z]+)'", path.with_suffix(".bicep").read_text(encoding="utf-8")))
    assert words == set(re.findall(r"\b(?!ContainerApp)[A-Z]+_[A-Z]+\b", text)) - {"TimeRange"}
    names = [item["name"] for item in book["items"]]
    assert len(set(names)) == len(names), "two items have one name"
    assert {item["type"] for item in book["items"]} == {1, 3, 9, 10}


def test_there_is_no_postgres(files: dict[Path, bicep.File]) -> None:
    types = {resource.type for file in files.values() for resource in file.resources.values()}
    assert not [kind for kind in types if "postgres" in kind.lower()]


def test_resources_carry_the_environment_tag(files: dict[Path, bicep.File]) -> None:
    for file in files.values():
        for resource in file.resources.values():
            if "location" in resource.body:
                assert "tags" in resource.body, f"{file.path.name}: {resource.symbol} cannot be found by azd"


def test_the_readme_of_infra_names_every_module() -> None:
    text = (INFRA / "README.md").read_text(encoding="utf-8")
    for path in sorted((INFRA / "modules").glob("*.bicep")):
        assert f"`{path.name}`" in text, f"infra/README.md says nothing of {path.name}"


def test_every_azd_variable_is_documented(files: dict[Path, bicep.File]) -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    variables = set(files[INFRA / "main.bicep"].outputs) | set(files[INFRA / "azquack.bicep"].outputs)
    for name in ("main", "azquack"):
        variables |= set(re.findall(r"\$\{(\w+)", (INFRA / f"{name}.parameters.json").read_text("utf-8")))
    assert {name for name in variables if f"`{name}`" not in text} == set()
