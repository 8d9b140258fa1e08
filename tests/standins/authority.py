"""A certificate authority that lives as long as its directory."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """Makes certificates below `directory`. `bundle` is what a client must trust."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self._directory = directory
        self.bundle = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(self.bundle)

    def issue(self, *names: str) -> tuple[Path, Path]:
        """The certificate chain and the key of a server that answers to `names`, as files."""
        issued = self._authority.issue_cert(*names)
        chain, key = self._directory / f"{names[0]}.pem", self._directory / f"{names[0]}.key"
        chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return chain, key

    def server_context(self, *names: str) -> ssl.SSLContext:
        """TLS for a server in this process that answers to `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names))
        return context
