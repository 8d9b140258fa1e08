"""What is up: the replicas of a pair as they see themselves, and a gateway as a client meets it."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit

from azquack.catalog.maintain.bounds import SKEW
from azquack.cli.diagnosis.finding import Diagnosis
from azquack.cli.diagnosis.settings import say_end
from azquack.cli.replica_status import is_well, status_of, trouble_of
from azquack.lake import client, extensions
from azquack.lake.client import Target
from azquack.process import certificates
from azquack.replicas.local import Running

_TIMEOUT = 10.0
_LOGIN = "see that it is up and within reach, and that the token is right"


def examine_pair(diagnosis: Diagnosis, running: Running, log: str) -> None:
    """Both replicas, as they say themselves."""
    for name, url in (("query", running.http_url), ("catalog", running.catalog_http_url)):
        about = f"{name} replica"
        with diagnosis.examining(about, f"see {log}"):
            said = status_of(url)
            tell = diagnosis.warn if is_well(said) else diagnosis.error
            for each in trouble_of(said):
                tell(about, f"the {about}: {each}", f"azquack status says more, and the log {log} why")
            if restarts := said.get("restarts"):
                diagnosis.warn(
                    about,
                    f"processes of the {about} were started anew {restarts} times",
                    f"see {log} for why",
                )
            _versions(diagnosis, about, said.get("versions", {}).get("duckdb"))


def examine_gateway(diagnosis: Diagnosis, target: Target) -> None:
    """A gateway, through a stock DuckDB."""
    host, port = _address(target.uri)
    if target.tls:
        with diagnosis.examining("TLS", "see that the address is right and the certificate is for it"):
            context = ssl.create_default_context()
            with (
                socket.create_connection((host, port), _TIMEOUT) as plain,
                context.wrap_socket(plain, server_hostname=host) as secure,
            ):
                certificate = ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"")
            say_end(diagnosis, certificates.end_of_pem(certificate), f"{host}:{port}")
    with diagnosis.examining("gateway", _LOGIN), client.connection(target) as connection:
        asked = f"FROM {client.ALIAS}.query('SELECT version(), now()')"
        [(version, now)] = connection.execute(asked).fetchall()
        _versions(diagnosis, "gateway", str(version).removeprefix("v"))
        apart = abs(now.astimezone(UTC) - datetime.now(UTC))
        if apart > SKEW:
            diagnosis.error(
                "clocks",
                f"the clock of {target.uri} and that of this machine differ by {apart.total_seconds():.0f} s",
                "set them right: tokens, backups and maintenance go by them",
            )


def _versions(diagnosis: Diagnosis, about: str, found: str | None) -> None:
    here = extensions.versions()["duckdb"]
    if found and found != here:
        diagnosis.warn(
            about,
            f"the {about} runs DuckDB {found}, and {here} is installed here",
            "start it anew after an upgrade, or use the client of its version",
        )


def _address(uri: str) -> tuple[str, int]:
    parts = urlsplit(f"//{uri.removeprefix('quack:')}")
    return parts.hostname or "", parts.port or 443
