"""The settings, and what a start makes of them: tokens, principals, storage, TLS, the place of backups, the port."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azquack.catalog.backup.places import place_for
from azquack.catalog.lease import lease_for
from azquack.cli.diagnosis.finding import Diagnosis
from azquack.config import sources
from azquack.config.settings import Settings, TokenSourceKind
from azquack.principals.configured import principals_for
from azquack.process import certificates
from azquack.storage import storage_for
from azquack.tokens.configured import token_source_for

_ORIGIN = "azquack config shows every setting and where it comes from"
# Who renews a certificate by hand should hear of it before the weekend.
SOON = timedelta(days=21)


def examine_sources(diagnosis: Diagnosis) -> None:
    """Every mistake in the environment and in `.env`."""
    with diagnosis.examining("settings", _ORIGIN):
        for each in sources.mistakes():
            diagnosis.error("settings", each, _ORIGIN)


def examine(diagnosis: Diagnosis, settings: Settings) -> None:
    """Make each part as a start would, as far as that changes nothing."""
    with diagnosis.examining("tokens", _ORIGIN):
        if _tokens_are_there(settings):
            tokens = token_source_for(settings)
            tokens.public()
            tokens.internal()
            principals_for(settings, tokens)
    with diagnosis.examining("storage", _ORIGIN):
        if settings.data_path is not None:
            storage_for(settings)
    with diagnosis.examining("backups", _ORIGIN):
        if settings.backup_to or settings.catalog_dir:
            place_for(settings)
    with diagnosis.examining("lease", _ORIGIN):
        if settings.catalog_dir:
            lease_for(settings, "azquack doctor")
    if settings.tls_cert is not None:
        with diagnosis.examining(
            "TLS", "put a certificate and its key into AZQUACK_TLS_CERT and AZQUACK_TLS_KEY"
        ):
            certificates.load(settings.tls_cert, settings.tls_key)
            say_end(diagnosis, certificates.end_of(settings.tls_cert), str(settings.tls_cert))


def examine_port(diagnosis: Diagnosis, settings: Settings) -> None:
    """Whether the gateway's port is free; only of something that is not up."""
    with diagnosis.examining("port", "say another with --port, or see what listens there (ss -ltnp)"):
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((settings.host, settings.port))
            except OSError as error:
                diagnosis.error(
                    "port",
                    f"port {settings.port} on {settings.host} cannot be opened: {(error.strerror or '').lower()}",
                    "say another with --port, or see what listens there (ss -ltnp)",
                )


def say_end(diagnosis: Diagnosis, end: datetime, whose: str) -> None:
    """A finding where the certificate of `whose` has ended, or soon does."""
    left = end - datetime.now(UTC)
    if left < timedelta():
        diagnosis.error("TLS", f"the certificate of {whose} ended on {end:%Y-%m-%d}", "renew it")
    elif left < SOON:
        diagnosis.warn("TLS", f"the certificate of {whose} ends on {end:%Y-%m-%d}", "renew it")


def _tokens_are_there(settings: Settings) -> bool:
    """Whether reading the tokens makes none: generated ones are made by the first who asks."""
    if settings.token_source is not TokenSourceKind.GENERATED:
        return True
    names = (settings.public_token_name, settings.internal_token_name)
    return settings.token_dir is not None and all(
        (Path(settings.token_dir) / each).exists() for each in names
    )
