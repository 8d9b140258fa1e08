"""The deployments that the snapshots hold fit Microsoft's own ARM schemas, in which unknown properties are refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from tests.infra.compiler import snapshot
from tests.infra.conftest import load_json

SNAPSHOTS = ("ground", "ground-private", "apps", "apps-full")
# Providers whose schema is not among those at hand: the compiler knows their types.
WITHOUT_SCHEMA = {"Microsoft.Resources", "Microsoft.Network", "Microsoft.Insights"}
# What a snapshot says beside a resource's own properties.
SNAPSHOT_ONLY = {"id", "condition", "scope"}


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


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_resources_fit_their_schema(
    name: str, arm: dict[str, dict[str, Any]], registry: Registry[Any]
) -> None:
    for resource in snapshot(name)["predictedResources"]:
        provider, _, kind = resource["type"].partition("/")
        if provider not in arm:
            assert provider in WITHOUT_SCHEMA, f"{resource['type']}: no schema to hold it against"
            continue
        assert f"/{resource['apiVersion']}/" in arm[provider]["uri"], resource["type"]
        _validate(arm[provider], kind, _body(resource), registry)


def test_a_misspelt_property_is_refused(arm: dict[str, dict[str, Any]], registry: Registry[Any]) -> None:
    found = snapshot("apps")["predictedResources"]
    app = _body(next(each for each in found if each["type"] == "Microsoft.App/containerApps"))
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


def _body(resource: dict[str, Any]) -> dict[str, Any]:
    """Without what is null: for Azure it is not there, the schema has no word for it."""
    return {name: _present(value) for name, value in resource.items() if name not in SNAPSHOT_ONLY}


def _present(value: Any) -> Any:
    if isinstance(value, float):
        # The schema knows whole cores only, the service halves too: the template writes them as an expression.
        return f"[json('{value}')]"
    if isinstance(value, dict):
        return {name: _present(each) for name, each in value.items() if each is not None}
    return [_present(each) for each in value] if isinstance(value, list) else value


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
