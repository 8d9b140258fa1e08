"""The options of a catalog link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Where the catalog is and how patient the link is.

    `tls`: whether the catalog speaks TLS; None means yes on port 443 and no elsewhere. Its certificate is
    verified against the system's authorities, or those of the file `ca_file`. `hold_seconds`: how long a
    statement waits for a catalog that is away. `answer_seconds`: how long an answer may take before the
    connection counts as lost. `name` stands in the snapshots that the node makes.
    """

    host: str
    port: int
    tls: bool | None = None
    ca_file: str | None = None
    hold_seconds: float = 30.0
    answer_seconds: float = 30.0
    name: str = "azquack"
