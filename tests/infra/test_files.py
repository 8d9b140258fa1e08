"""azure.yaml, the Dockerfile, the hooks for Windows, YAML and the links of the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tree_sitter_powershell
import yaml
from tree_sitter import Language, Node, Parser

from tests.infra.conftest import INFRA, ROOT, load_json

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def azure_yaml() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    return loaded


def test_azure_yaml_fits_its_schema(azure_yaml: dict[str, Any], schemas: Path) -> None:
    schema = load_json(schemas / "azd" / "azure.yaml.json")
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(azure_yaml)] == []


def test_a_misspelt_hook_is_refused(azure_yaml: dict[str, Any], schemas: Path) -> None:
    schema = load_json(schemas / "azd" / "azure.yaml.json")
    validator = jsonschema.validators.validator_for(schema)(schema)
    hooks = {**azure_yaml["hooks"], "preprovison": azure_yaml["hooks"]["preprovision"]}
    assert not validator.is_valid({**azure_yaml, "hooks": hooks})


def test_hooks_are_there_for_posix_and_windows(azure_yaml: dict[str, Any]) -> None:
    for name, hook in azure_yaml["hooks"].items():
        for system, ending in (("posix", ".sh"), ("windows", ".ps1")):
            script = ROOT / hook[system]["run"]
            assert script.is_file(), f"{name} on {system}: no {script}"
            assert script.suffix == ending
            assert system == "windows" or script.stat().st_mode & 0o111, f"{script} is not executable"


def test_the_service_has_the_module_that_azd_deploys_it_with(azure_yaml: dict[str, Any]) -> None:
    for service in azure_yaml["services"]:
        assert (INFRA / f"{service}.bicep").is_file()
        assert (INFRA / f"{service}.bicepparam").is_file()
        assert f"'azd-service-name': '{service}'" in (INFRA / f"{service}.bicep").read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", sorted((INFRA / "hooks").glob("*.ps1")), ids=lambda path: path.name)
def test_powershell_parses(hook: Path) -> None:
    tree = Parser(Language(tree_sitter_powershell.language())).parse(hook.read_bytes())
    assert list(_errors(tree.root_node)) == []


def _errors(node: Node) -> list[str]:
    own = (
        [f"line {node.start_point[0] + 1}: {node.text!r}"] if node.type == "ERROR" or node.is_missing else []
    )
    return own + [error for child in node.children for error in _errors(child)]


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [BIN / "hadolint", "--failure-threshold", "info", ROOT / "Dockerfile"],
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_pinned_and_not_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    base = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert len(base) == 1
    assert re.search(r":3\.\d+-slim", base[0]), "the base is of no certain version of Python"
    assert f"${{LAKE_BASE_IMAGE={base[0]}}}" in (ROOT / "azure.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "1000:1000"
    assert "--require-hashes" in text
    assert not re.search(r"(ARG|ENV) \w*(TOKEN|PASSWORD|SECRET|KEY)", text), "a secret would be in a layer"


def test_yaml_is_sound() -> None:
    files = [path for path in (ROOT / "azure.yaml", ROOT / ".yamllint") if path.exists()]
    done = subprocess.run(
        [BIN / "yamllint", "--strict", "--config-file", ROOT / ".yamllint", *files],
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_links_of_the_documentation_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *INFRA.rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", link) and not _leads_somewhere(page, link)
    ]
    assert broken == []


def test_scripts_that_the_documentation_names_are_there() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *INFRA.rglob("*.md"), ROOT / "Makefile"]
    named = {
        name for page in pages for name in re.findall(r"scripts/[\w-]+\.(?:sh|py)", page.read_text("utf-8"))
    }
    assert {f"scripts/{name}" for name in ("validate-deployment.sh", "rotate-tokens.sh")} <= named
    assert [name for name in sorted(named) if not (ROOT / name).stat().st_mode & 0o111] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    file, _, heading = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not heading or target.suffix != ".md":
        return target.exists()
    if not target.is_file():
        return False
    titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return heading in {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
