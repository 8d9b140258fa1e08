"""The resources under infra/ fit Microsoft's own ARM schemas, in which unknown properties are refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from tests.infra import bicep
from tests.infra.conftest import INFRA, each_file, load_json

# Providers whose schema is not among those at hand: their resources are parsed, and held against nothing.
WITHOUT_SCHEMA = {"Microsoft.Resources", "Microsoft.Network", "Microsoft.Insights"}
# Properties that Bicep adds to a resource and ARM writes elsewhere.
BICEP_ONLY = {"parent", "scope", "dependsOn"}


@pytest.fixture(scope="module")
def arm(schemas: Path) -> dict[str, dict[str, Any]]:
    """provider → its schema, made to refuse unknown properties."""
    loaded = {}
    for path in sorted((schemas / "arm").glob("Microsoft.*.json")):
        schema = load_json(path)
        _refuse_unknown(schema)
        loaded[schema["title"]] = schema
    return loaded


@pytest.fixture(scope="module")
def registry(schemas: Path, arm: dict[str, dict[str, Any]]) -> Registry[Any]:
    common = load_json(schemas / "arm" / "common.definitions.json")
    documents = [common, *arm.values()]
    pairs = []
    for document in documents:
        uri = document.pop("id").removesuffix("#")
        pairs.append((uri, Resource.from_contents(document, default_specification=DRAFT4)))
        document["uri"] = uri
    return Registry().with_resources(pairs)


@each_file
def test_resources_fit_their_schema(
    path: Path,
    files: dict[Path, bicep.File],
    arm: dict[str, dict[str, Any]],
    registry: Registry[Any],
) -> None:
    for resource in files[path].resources.values():
        provider, _, kind = resource.type.partition("/")
        if provider not in arm:
            assert provider in WITHOUT_SCHEMA, f"{resource.type}: no schema to hold it against"
            continue
        if not resource.existing:
            _validate(arm[provider], kind, _as_arm(resource), registry)


def test_api_versions_are_those_of_the_schemas(
    files: dict[Path, bicep.File], arm: dict[str, dict[str, Any]], registry: Registry[Any]
) -> None:
    for file in files.values():
        for resource in file.resources.values():
            provider = resource.type.partition("/")[0]
            if provider in arm:
                assert f"/{resource.api}/" in arm[provider]["uri"], f"{file.path.name}: {resource.symbol}"


def test_a_misspelt_property_is_refused(
    files: dict[Path, bicep.File], arm: dict[str, dict[str, Any]], registry: Registry[Any]
) -> None:
    app = _as_arm(files[INFRA / "modules" / "container-app.bicep"].resources["app"])
    for path in (
        ["properties"],
        ["properties", "configuration", "ingress"],
        ["properties", "template", "containers", 0, "probes", 0, "httpGet"],
        ["properties", "template", "volumes", 1],
    ):
        broken = copy.deepcopy(app)
        part: Any = broken
        for step in path:
            part = part[step]
        part["misspelt"] = "value"
        with pytest.raises(AssertionError, match="containerApps"):
            _validate(arm["Microsoft.App"], "containerApps", broken, registry)


def _as_arm(resource: bicep.Resource) -> dict[str, Any]:
    body = {name: value for name, value in resource.body.items() if name not in BICEP_ONLY}
    if "parent" in resource.body:  # which ARM writes as PARENT/NAME, an expression since PARENT is one
        body["name"] = f"[format('{{0}}/{{1}}', {resource.body['parent']}, '{body['name']}')]"
    return {**body, "type": resource.type, "apiVersion": resource.api}


def _validate(schema: dict[str, Any], kind: str, body: dict[str, Any], registry: Registry[Any]) -> None:
    reference = {"$ref": f"{schema['uri']}#/resourceDefinitions/{kind.replace('/', '_')}"}
    validator = jsonschema.Draft4Validator(reference, registry=registry)
    errors = [jsonschema.exceptions.best_match([error]) for error in validator.iter_errors(body)]
    lines = [f"{kind} {error.json_path}: {error.message[:300]}" for error in errors if error]
    assert not lines, "\n".join(lines)


def _refuse_unknown(node: Any) -> None:
    """Adds `additionalProperties: false` wherever a schema lists the properties of an object."""
    if isinstance(node, list):
        for item in node:
            _refuse_unknown(item)
    elif isinstance(node, dict):
        composed = {"allOf", "anyOf", "oneOf"} & set(node)
        if isinstance(node.get("properties"), dict) and node.get("type") == "object" and not composed:
            node.setdefault("additionalProperties", False)
        for value in node.values():
            _refuse_unknown(value)
