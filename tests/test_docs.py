"""The docs: every link leads somewhere, what the site lists is there, and the tutorial runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests/README.md"]
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_what_the_site_lists_is_there() -> None:
    listed = set(re.findall(r"^ +- ([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    # A page that is not listed is in the site all the same, found by its links and by search.
    assert listed <= there


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("AZQUACK_")}
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "AZQUACK_PORT": "0"}
    said = {}
    try:
        for command in commands:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            said[command] = done.stdout
    finally:
        subprocess.run(
            ["sh", "-c", "azquack down --dir lake"], cwd=tmp_path, env=env, check=False, capture_output=True
        )
    assert (
        next(text for command, text in said.items() if "FROM demo.plans" in command).splitlines()[1]
        == "1,first"
    )
