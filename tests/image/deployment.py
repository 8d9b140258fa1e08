"""Both roles and a second query node in containers, with stand-ins of Azure around them.

Their settings are those of the deployment that `infra/snapshots` holds, but for the addresses and identities of Azure.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azquack.config.settings import PREFIX
from azquack.lake import client
from tests.cluster import close, end, read_line, wait_until
from tests.image.containers import IMAGE, ROOT, Container, Namespace, run
from tests.infra.compiler import snapshot
from tests.standins import azurite

# As the shell that runs the tests has it: npm may need it to reach its registry.
OUTSIDE = dict(os.environ)
# All containers share one loopback, so each has ports of its own; the apps in Azure share 9494 and 8080.
CATALOG_PORT, QUERY_PORT, NODE_DOOR_PORT, NODE_PORT = "9500", "9494", "9495", "9600"
CATALOG_HTTP, QUERY_HTTP, NODE_HTTP = "8081", "8080", "8082"
SECOND_PORT, SECOND_HTTP = "9501", "8083"


def build(directory: Path, secret: str) -> str:
    """The image, built from a copy of this repository in `directory` in which `secret` lies about.

    It is in a `.env`, in the token files of a lake, and in the environment of the build.
    """
    for name in run("git", "ls-files").splitlines():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, directory / name)
    for name in (".env", "src/.env", "lake/tokens/public-token"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"{client.TOKEN_VARIABLE}={secret}\n")
    done = subprocess.run(
        [directory / "scripts" / "build-image-without-engine.sh", "--tag", IMAGE],
        text=True, capture_output=True, timeout=900, check=False, env=OUTSIDE | {client.TOKEN_VARIABLE: secret},
    )  # fmt: skip
    assert done.returncode == 0, f"the image cannot be built: {done.stderr[-4000:]}"
    return IMAGE


def _short(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower()


class Deployment:
    """A pair from the image, below `directory`, whose identity tokens live for `life` seconds."""

    def __init__(self, directory: Path, life: float = 3600.0, backup_every: float = 300.0) -> None:
        self.namespace = Namespace(f"azq-{secrets.token_hex(4)}")
        self.tokens = {name: secrets.token_urlsafe(24) for name in ("public-token", "internal-token")}
        self.share = directory / "share"
        self.catalog: Container
        self.query: Container
        self.node: Container
        self._directory, self._life, self._backup_every = directory, life, backup_every
        self._apps = {
            each["tags"]["azquackPart"]: each["properties"]["template"]["containers"][0]
            for each in snapshot("apps-full")["predictedResources"]
            if each["type"] in ("Microsoft.App/containerApps", "Microsoft.App/jobs")
        }
        self._azure: subprocess.Popen[str] | None = None
        self._standins: dict[str, Any] = {}
        self._bundle = directory / "ca.pem"

    @property
    def containers(self) -> list[Container]:
        """Those that serve, in the order of their start."""
        return [getattr(self, name) for name in ("catalog", "node", "query") if hasattr(self, name)]

    def start(self) -> None:
        """Bring everything up and wait until it is ready."""
        azurite.install(OUTSIDE)  # now, since the namespace leads to no registry
        self.namespace.make()
        containers = [part for name in ("lake", "backups", "lease") for part in ("--container", name)]
        self._azure = subprocess.Popen(
            self.namespace.command(
                sys.executable, "-m", "tests.standins", "--life", str(self._life), *containers
            ),
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=ROOT, env=OUTSIDE,
        )  # fmt: skip
        self._standins = json.loads(read_line(self._azure, "Azure's stand-ins did not start", timeout=120))
        self.azure(secrets=self.tokens | {"principals": '{"principals": []}'})
        self._bundle.write_bytes(Path(self._standins["environment"]["CURL_CA_INFO"]).read_bytes())
        self.share.mkdir()
        os.chown(self.share, 1000, 1000)
        self.catalog = self._catalog("catalog", CATALOG_PORT, CATALOG_HTTP)
        self.node = self.container("node1", NODE_DOOR_PORT, NODE_HTTP, name="node")
        self.query = self.container(
            "query", QUERY_PORT, QUERY_HTTP,
            {"PEERS": f"node1=127.0.0.1:{NODE_PORT}", "PUBLIC_ROLE": "admin"},
        )  # fmt: skip
        for container in self.containers:
            container.start()
        self.wait_until_ready()

    def second_catalog(self) -> Container:
        """The catalog's next revision, on the same share and lease; not started."""
        return self._catalog("catalog-2", SECOND_PORT, SECOND_HTTP)

    def restore_job(self, at: str) -> Container:
        """The job that restores a backup that is not younger than `at`; not started."""
        arguments = ("restore", "--yes", "--at", at)
        mounts = {self.share: "/catalog"}
        return self.container("restore", mounts=mounts, arguments=arguments)

    def _catalog(self, name: str, port: str, http_port: str) -> Container:
        more, mounts = {"BACKUP_EVERY": str(self._backup_every)}, {self.share: "/catalog"}
        return self.container("catalog", port, http_port, more, mounts=mounts, name=name)

    def container(
        self,
        part: str,
        port: str = "",
        http_port: str = "",
        more: Mapping[str, str] | None = None,
        *,
        mounts: Mapping[Path, str] | None = None,
        arguments: Sequence[str] = (),
        name: str = "",
    ) -> Container:
        """A container with the settings of the deployment's `part`, and `more`; not started.

        Without `arguments` it does what the image says.
        """
        # What Azure has elsewhere: addresses, identities, and ports that the apps need not share a loopback for.
        values = self._standins["settings"] | {
            "port": port,
            "http_port": http_port,
            "trusted_proxies": "127.0.0.1",
            "spill_limit": "1GB",
            "catalog": f"quack:127.0.0.1:{CATALOG_PORT}",
            "node_port": NODE_PORT,
            "peers": "",
        }
        environment = {each["name"]: str(each["value"]) for each in self._apps[part]["env"]}
        environment |= {key: values[short] for key in environment if (short := _short(key)) in values}
        environment |= {PREFIX + key: value for key, value in (more or {}).items()}
        environment[f"{PREFIX}AZURE_ENDPOINT"] = values["azure_endpoint"]
        # The tmpfs on /tmp would hide a file that is mounted there.
        environment |= self._standins["environment"]
        environment |= dict.fromkeys(("CURL_CA_INFO", "REQUESTS_CA_BUNDLE"), "/ca.pem")
        files = {self._bundle: "/ca.pem:ro", **(mounts or {})}
        return Container(
            f"{self.namespace.name}-{name or part}", self.namespace, environment, files, arguments
        )

    def azure(self, **order: Any) -> dict[str, int]:
        """Tells the stand-ins of Azure something; the requests that they have had (see `tests.standins`)."""
        assert self._azure is not None
        assert self._azure.stdin is not None
        self._azure.stdin.write(json.dumps(order) + "\n")
        self._azure.stdin.flush()
        asked: dict[str, int] = json.loads(read_line(self._azure, "Azure's stand-ins are gone"))["asked"]
        return asked

    def service_ports(self) -> dict[str, int]:
        """Where the stand-ins of Azure listen, by name."""
        settings, environment = self._standins["settings"], self._standins["environment"]
        return {
            "blob": int(settings["azure_endpoint"].rpartition(":")[2]),
            "vault": int(settings["key_vault_url"].rpartition(":")[2]),
            "identity": urlsplit(environment["IDENTITY_ENDPOINT"]).port or 80,
        }

    def is_ready(self, port: str) -> bool:
        """Whether the sidecar on `port` says so."""
        return bool(self.namespace.get(f"http://127.0.0.1:{port}/readyz")[0] == 200)

    def status(self, port: str) -> dict[str, Any]:
        """What the sidecar on `port` tells of its replica."""
        body: dict[str, Any] = json.loads(self.namespace.get(f"http://127.0.0.1:{port}/status")[1])
        return body

    def wait_until_ready(self) -> None:
        """Wait for every sidecar to say so."""
        for port in (CATALOG_HTTP, NODE_HTTP, QUERY_HTTP):
            self._wait_until_ready(port)

    def _wait_until_ready(self, port: str) -> None:
        wait_until(
            lambda: self.is_ready(port), lambda: f"port {port} did not say ready\n{self.log_text()}", 90
        )

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Runs `statement` in the lake through the public gateway."""
        arguments = ("sql", "--uri", f"quack:127.0.0.1:{QUERY_PORT}", "--format", "json", statement)
        done = self.python("-m", "azquack", *arguments)
        assert done.returncode == 0, done.stderr + self.log_text()
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def python(
        self, *arguments: str | Path, timeout: float = 120, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs Python in the namespace, with the public token in its environment."""
        return subprocess.run(
            self.namespace.command(sys.executable, *arguments),
            text=True, capture_output=True, timeout=timeout, check=False, cwd=cwd or self._directory,
            env=OUTSIDE | {
                client.TOKEN_VARIABLE: self.tokens["public-token"],
                "AZQUACK_TEST_URI": f"quack:127.0.0.1:{QUERY_PORT}",
                "AZQUACK_TEST_HTTP_URL": f"http://127.0.0.1:{QUERY_HTTP}",
            },
        )  # fmt: skip

    def log_text(self) -> str:
        """The end of what the containers wrote."""
        return "\n".join(f"{each.name}:\n{each.log_text()[-4000:]}" for each in self.containers)

    def destroy(self) -> None:
        """End and remove everything."""
        for container in reversed(self.containers):
            container.remove()
        if self._azure is not None:
            close(self._azure.stdin)
            end(self._azure)
        self.namespace.remove()
