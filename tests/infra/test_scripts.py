"""The shell scripts: sound by shellcheck and shfmt, helpful, and run end to end over a real pair."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.infra import az_options, compiler, parameters
from tests.infra.conftest import ROOT
from tests.standins.azurite import ACCOUNT, Azurite

BIN = Path(sys.executable).parent
SHELL = sorted([*(ROOT / "scripts").glob("*.sh"), *(ROOT / "infra" / "hooks").glob("*.sh")])
# Those with options of their own; the others are run by make or azd.
WITH_HELP = [
    path
    for path in sorted((ROOT / "scripts").iterdir())
    if path.is_file() and path.name not in ("deployment.sh", "lib.sh", "setup.sh", "test.sh")
]

each_script = pytest.mark.parametrize("script", WITH_HELP, ids=lambda path: path.name)


def run(*command: str | Path, env: dict[str, str] | None = None, timeout: float = 60) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command."""
    done = subprocess.run(
        command, env=env, text=True, capture_output=True, timeout=timeout, cwd=ROOT, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_shellcheck_finds_nothing() -> None:
    code, out, _ = run(BIN / "shellcheck", "--severity=warning", *SHELL)
    assert code == 0, out


def test_shell_is_formatted() -> None:
    code, out, _ = run(BIN / "shfmt", "--indent", "4", "--case-indent", "--diff", *SHELL)
    assert code == 0, out


@each_script
def test_help_says_how_to_use_it(script: Path) -> None:
    code, out, _ = run(script, "--help", env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    assert code == 0
    assert f"{script.name}" in out
    assert "sage:" in out


@each_script
def test_an_unknown_argument_is_refused_in_a_sentence(script: Path) -> None:
    code, _, err = run(script, "--no-such-flag", env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    assert code != 0
    assert "--no-such-flag" in err or "--uri" in err
    assert "Traceback" not in err


def test_az_is_called_with_options_that_it_has() -> None:
    known = json.loads(az_options.TABLE.read_text(encoding="utf-8"))["commands"]
    found = {path: az_options.calls(path.read_text(encoding="utf-8")) for path in az_options.files()}
    assert sum(map(len, found.values())) > 20, "the scripts' calls of az were not found"
    for path, calls in found.items():
        for command, given in calls:
            assert command in known, f"{path.name}: az {command} is not in {az_options.TABLE.name}"
            assert set(given) <= set(known[command]["options"]), f"{path.name}: az {command}"
            assert set(given) >= set(known[command]["required"]), f"{path.name}: az {command}"


@dataclass
class Deployment:
    """A local pair, with stand-ins for `az` and `azd` that answer from its state.

    `settings` are AzQuack's for the pair; the scripts get them in place of what `az login` gives an operator.
    """

    state: Path
    uri: str
    settings: dict[str, str] = field(default_factory=dict)

    def azure(self, **facts: Any) -> None:
        """What only Azure knows: see the stand-in for `az`."""
        (self.state / "azure.json").write_text(json.dumps(facts))

    def choose(self, **values: str) -> None:
        """Puts values into azd's environment."""
        (self.state / "azd.json").write_text(json.dumps(self.azd() | values))

    def script(self, name: str, *arguments: str, timeout: float = 120) -> tuple[int, str, str]:
        """Runs a script or hook against the pair; a call that the stand-ins do not know fails the test."""
        script = ROOT / ("infra/hooks" if (ROOT / "infra" / "hooks" / name).exists() else "scripts") / name
        result = run(script, *arguments, env=self.environment(), timeout=timeout)
        unknown = self.state / "unknown-calls"
        assert not unknown.exists(), unknown.read_text()
        return result

    def environment(self) -> dict[str, str]:
        """The environment of a script: the stand-ins first on PATH, and what azd hands to a hook."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AZQUACK_")},
            "PATH": f"{Path(__file__).parent / 'standins'}:{BIN}:{os.environ['PATH']}",
            "STANDIN_STATE": str(self.state),
            "STANDIN_AZQUACK": str(BIN / "azquack"),
            "LAKE_URI": self.uri,
            **self.settings,
            "AZURE_ENV_NAME": "test",
            **self.azd(),
        }

    def azd(self) -> dict[str, str]:
        """azd's environment."""
        path = self.state / "azd.json"
        values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return values

    def token(self, name: str = "public-token") -> str:
        """A token of the pair."""
        return (self.state / "lake" / "tokens" / name).read_text().strip()


@pytest.fixture
def empty(tmp_path: Path) -> Deployment:
    """Nothing is deployed yet."""
    return Deployment(tmp_path, "quack:127.0.0.1:9")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[Deployment]:
    """A pair that is up, its data and its backups in Blob Storage, and azd's environment of it."""
    state = tmp_path_factory.mktemp("deployment")
    lake = state / "lake"
    for container in ("lake", "backups"):
        azurite.make_container(container)
    settings = {
        "AZQUACK_DATA_PATH": "az://lake/lake/",
        "AZQUACK_BACKUP_TO": "az://backups/catalog",
        "AZQUACK_BACKUP_EVERY": "2",
        "AZQUACK_AZURE_CONNECTION_STRING": azurite.connection_string,
    }
    code, out, err = run(
        BIN / "azquack", "up", "--dir", lake, "--port", "0", "--data-path", settings["AZQUACK_DATA_PATH"],
        "--detach", "--json",
        env=os.environ | settings, timeout=90,
    )  # fmt: skip
    assert code == 0, err
    (lake / "tokens" / "principals").write_text('{"principals": []}')
    (state / "azd.json").write_text(
        json.dumps(
            {
                "AZURE_ENV_NAME": "test",
                "AZURE_RESOURCE_GROUP": "group",
                "AZURE_KEY_VAULT_NAME": "vault",
                "AZURE_CONTAINER_REGISTRY_ENDPOINT": "registry.example",
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_LAKE_CONTAINER": "lake",
                "AZURE_BACKUP_CONTAINER": "backups",
                "CATALOG_APP_NAME": "catalog-app",
                "CATALOG_FQDN": "catalog.internal.invalid",
                "QUERY_APP_NAME": "query-app",
                "QUERY_FQDN": "lake.example",
            }
        )
    )
    yield Deployment(state, json.loads(out)["uri"], settings)
    run(BIN / "azquack", "down", "--dir", lake)


def test_preprovision_makes_the_tokens_once(empty: Deployment) -> None:
    code, out, err = empty.script("preprovision.sh")
    assert code == 0, err
    made = empty.azd()
    assert json.loads(made["LAKE_NEW_PRINCIPALS"]) == {"principals": []}
    tokens = [made["LAKE_NEW_PUBLIC_TOKEN"], made["LAKE_NEW_INTERNAL_TOKEN"]]
    assert all(re.fullmatch(r"[\w-]{43}", token) for token in tokens)
    assert tokens[0] != tokens[1]
    assert not any(token in out + err for token in tokens)
    # A provision that failed half-way is tried again with the same tokens.
    assert empty.script("preprovision.sh")[0] == 0
    assert empty.azd() == made
    # What azd then makes of its environment is what the vault is given.
    given = parameters.evaluate(
        ROOT / "infra" / "main.bicepparam", made | {"AZURE_ENV_NAME": "x", "AZURE_LOCATION": "y"}
    )
    assert [given["publicToken"], given["internalToken"], json.loads(given["principals"])] == [
        *tokens,
        {"principals": []},
    ]


@pytest.mark.parametrize("known", ["everything", "the name alone"])
def test_provisioning_again_rotates_nothing(deployment: Deployment, tmp_path: Path, known: str) -> None:
    # A fresh clone, or a pipeline, has no state of azd's: it finds the vault by the environment's name.
    again = deployment
    if known != "everything":
        again = Deployment(tmp_path, deployment.uri, deployment.settings)
        (tmp_path / "lake").symlink_to(deployment.state / "lake")
    code, _, err = again.script("preprovision.sh")
    assert code == 0, err
    assert not [name for name in again.azd() if name.startswith("LAKE_NEW_")]


def test_a_vault_that_cannot_be_asked_stops_the_provision(deployment: Deployment, tmp_path: Path) -> None:
    denied = Deployment(tmp_path, deployment.uri, deployment.settings)
    (tmp_path / "lake").symlink_to(deployment.state / "lake")
    denied.azure(denied=True)
    script = ROOT / "infra" / "hooks" / "preprovision.sh"
    code, _, err = run(script, env=denied.environment())
    assert code == 1
    assert "nothing was changed" in err
    assert denied.azd() == {}


def test_a_deleted_vault_that_keeps_its_name_is_told(empty: Deployment) -> None:
    empty.azure(deleted="kv-old")
    code, _, err = empty.script("preprovision.sh")
    assert code == 1
    assert "az keyvault purge --name kv-old" in err
    assert empty.azd() == {}


FIXED = [
    ("LAKE_PREMIUM_CATALOG", {"sku": "Standard_LRS"}, {"sku": "Premium_LRS"}),
    ("LAKE_ZONE_REDUNDANT", {"sku": "Standard_LRS"}, {"sku": "Standard_ZRS"}),
    ("LAKE_PRIVATE_NETWORK", {"subnet": "none"}, {"subnet": "/subscriptions/s/subnet"}),
]


@pytest.mark.parametrize(("choice", "without", "with_it"), FIXED, ids=[each[0] for each in FIXED])
def test_what_is_made_once_is_held_against_what_stands(
    empty: Deployment, choice: str, without: dict[str, str], with_it: dict[str, str]
) -> None:
    (empty.state / "lake" / "tokens").mkdir(parents=True)
    for stands, chosen, agrees in (
        (without, "", True), (without, "TRUE", False), (with_it, "True", True), (with_it, "", False),
    ):  # fmt: skip
        (empty.state / "azd.json").unlink(missing_ok=True)
        empty.azure(**stands)
        empty.choose(**{choice: chosen})
        code, _, err = empty.script("preprovision.sh")
        assert code == (0 if agrees else 1), (stands, chosen, err)
        assert agrees or (
            choice in err and not [name for name in empty.azd() if name.startswith("LAKE_NEW_")]
        )


def test_choices_that_cannot_be_are_all_told_before_anything_is_touched(empty: Deployment) -> None:
    empty.choose(LAKE_SOFT_DELETE_DAYS="400", LAKE_PRIVATE_NETWORK="yes", LAKE_CUSTOM_DOMAIN="lake.example")
    for hook in ("preprovision.sh", "predeploy.sh"):
        code, _, err = empty.script(hook)
        assert code == 1
        assert "LAKE_SOFT_DELETE_DAYS is '400': write a whole number from 1 to 365" in err
        assert "LAKE_PRIVATE_NETWORK is 'yes'" in err
        assert "LAKE_CUSTOM_DOMAIN is set without LAKE_CERTIFICATE_ID" in err
    assert not [name for name in empty.azd() if name.startswith("LAKE_NEW_")]


def test_what_a_deployment_no_longer_has_is_removed(deployment: Deployment) -> None:
    deployment.choose(DEPLOYED_PARTS="catalog,query,node1", AZURE_SUBSCRIPTION_ID="subscription")
    deployment.azure(
        parts=[
            ["catalog", "/c"],
            ["query", "/q"],
            ["node1", "/n1"],
            ["node2", "/n2"],
            ["alerts", "/a"],
            ["node", "/n"],
        ]
    )
    code, out, err = deployment.script("postdeploy.sh")
    assert code == 0, err
    assert (deployment.state / "deleted-resources").read_text().split() == ["/n2", "/a", "/n"]
    assert deployment.uri in out


def test_an_address_that_is_gone_is_forgotten(deployment: Deployment, tmp_path: Path) -> None:
    down = Deployment(tmp_path, deployment.uri)
    down.choose(**deployment.azd())
    code, _, err = down.script("postdown.sh")
    assert code == 0, err
    code, _, err = run(
        ROOT / "scripts" / "show-connection-info.sh", env=down.environment() | {"LAKE_URI": ""}
    )
    assert code == 1
    assert "azd up" in err
    outputs = set(compiler.template("azquack")["outputs"])
    assert {name for name in outputs if down.azd().get(name)} == set()


def test_postprovision_makes_azd_forget_the_tokens(empty: Deployment) -> None:
    assert empty.script("preprovision.sh")[0] == 0
    code, _, err = empty.script("postprovision.sh")
    assert code == 0, err
    left = {name: value for name, value in empty.azd().items() if name.startswith("LAKE_NEW_")}
    assert set(left.values()) == {""}
    assert "azd deploy" in err


def test_setup_puts_the_choices_into_azds_environment(empty: Deployment) -> None:
    code, _, err = empty.script(
        "setup-azd-env.sh", "lake", "--location", "westeurope", "--allow", "203.0.113.0/24,198.51.100.7",
        "--query-cpu", "1", "--private-network", "--maintenance", "0 4 * * *",
    )  # fmt: skip
    assert code == 0, err
    assert empty.azd() == {
        "AZURE_ENV_NAME": "lake",
        "AZURE_LOCATION": "westeurope",
        "LAKE_ALLOWED_ADDRESSES": "203.0.113.0/24,198.51.100.7",
        "LAKE_QUERY_CPU": "1",
        "LAKE_PRIVATE_NETWORK": "true",
        "LAKE_MAINTENANCE_SCHEDULE": "0 4 * * *",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "which environment"),
        (["Lake"], "lower case"),
        (["lake"], "say where with --location"),
        (["lake", "--location"], "--location needs a value"),
        (["lake", "--location", "westeurope", "--query-cpu", "3"], "0.25, 0.5, 0.75"),
        (["lake", "--location", "westeurope", "--query-nodes", "0"], "from 1 to 8"),
        (["lake", "--location", "westeurope", "--allow", "office"], "expected an address"),
    ],
)
def test_setup_refuses_what_cannot_be(empty: Deployment, arguments: list[str], sentence: str) -> None:
    code, _, err = empty.script("setup-azd-env.sh", *arguments)
    assert code == 1
    assert sentence in err
    assert empty.azd() == {}


def test_scripts_say_when_nothing_is_deployed(empty: Deployment) -> None:
    for name in ("show-connection-info.sh", "connect-local.sh", "validate-deployment.sh"):
        code, _, err = empty.script(name)
        assert code == 1, name
        assert "azd up" in err, name


def test_connection_info_shows_no_token(deployment: Deployment) -> None:
    code, out, err = deployment.script("show-connection-info.sh")
    assert code == 0, err
    assert f"ATTACH '{deployment.uri}' AS lake;" in out
    assert deployment.token() not in out + err
    code, out, _ = deployment.script("show-connection-info.sh", "--json")
    assert json.loads(out)["uri"] == deployment.uri


def test_connect_local_writes_a_row_and_reads_it_back(deployment: Deployment) -> None:
    code, out, err = deployment.script("connect-local.sh", "--smoke")
    assert code == 0, err
    assert "wrote one row to the table smoke and read it back" in err
    assert deployment.token() not in out + err


def test_sessions_stay_whole(deployment: Deployment) -> None:
    code, out, err = run(
        sys.executable, ROOT / "scripts" / "validate-sessions.py", "--uri", deployment.uri, "--sessions", "4",
        "--rounds", "3", env=deployment.environment() | {"AZQUACK_PUBLIC_TOKEN": deployment.token()},
    )  # fmt: skip
    assert code == 0, out + err
    assert "4 of 4 sessions stayed whole" in out


@pytest.mark.slow
def test_validation_of_a_pair_without_restarts(deployment: Deployment) -> None:
    code, out, err = deployment.script("validate-deployment.sh", "--no-restarts")
    assert code == 0, out + err
    assert "ok      the newest backup can be restored, with every file that it names" in out
    assert "skipped restarts under load: --no-restarts" in out
    assert deployment.token() not in out + err


@pytest.mark.slow
def test_validation_fails_when_a_file_is_lost_or_no_backup_is_fresh(
    deployment: Deployment, azurite: Azurite
) -> None:
    code, out, err = run(
        BIN / "azquack", "sql", "--uri", deployment.uri, "CREATE TABLE kept AS FROM range(1000)",
        env=deployment.environment() | {"AZQUACK_PUBLIC_TOKEN": deployment.token()},
    )  # fmt: skip
    assert code == 0, err
    with azurite.client() as client:
        container = client.get_container_client("lake")
        (lost,) = [name for name in container.list_blob_names() if "/kept/" in name]
        content = container.get_blob_client(lost).download_blob().readall()
        container.delete_blob(lost)
    code, out, err = deployment.script("validate-deployment.sh", "--no-restarts", "--backup-minutes", "0")
    with azurite.client() as client:
        client.get_container_client("lake").upload_blob(lost, content)
    failed = [line.removeprefix("FAILED  ") for line in out.splitlines() if line.startswith("FAILED")]
    assert failed == [
        "the newest backup is at most 0 minutes old",
        "the newest backup can be restored, with every file that it names",
    ], out + err
    assert code == 1
    assert "2 checks failed" in err


@pytest.mark.slow
def test_validation_restarts_both_apps_under_load(deployment: Deployment) -> None:
    code, out, err = deployment.script("validate-deployment.sh", timeout=170)
    assert code == 0, out + err
    assert "ok      a restart of the catalog loses nothing that was acknowledged" in out, out + err
    assert "ok      a restart of the query app loses nothing that was acknowledged" in out, out + err


@pytest.mark.slow
@pytest.mark.parametrize("which", ["public", "internal"])
def test_rotation_replaces_the_token_that_was_asked_for(deployment: Deployment, which: str) -> None:
    before = {name: deployment.token(name) for name in ("public-token", "internal-token")}
    deployment.azure(nodes=["ca-node1", "ca-node2"])
    log = deployment.state / "restarted"
    before_restarts = len(log.read_text().split()) if log.exists() else 0
    code, out, err = deployment.script("rotate-tokens.sh", which)
    assert code == 0, err
    changed = {name for name in before if deployment.token(name) != before[name]}
    assert changed == {f"{which}-token"}
    restarted = (deployment.state / "restarted").read_text().split()[before_restarts:]
    further = ["ca-node1", "ca-node2"]
    assert restarted == (["query-app"] if which == "public" else ["catalog-app", *further, "query-app"])
    assert not any(token in out + err for token in [*before.values(), deployment.token()])
