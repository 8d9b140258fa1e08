"""What a client is told of a session or an answer that is lost.

The gateway says most of it in place of its node; the link, a client of the catalog's gateway, knows by it how to go on.
"""

from __future__ import annotations

AGAIN = "DETACH it and ATTACH it again"
INVALID_ID = "Invalid connection id"
"""DuckDB's own, of a session that a node does not know."""
UNKNOWN = f"This session is not known here: {AGAIN}"
LOST = f"The DuckDB node that held this session is gone: {AGAIN}"
ENDED = (
    "This session has ended on its DuckDB node, which closed it as nothing came for AZQUACK_IDLE_TIMEOUT, or "
    f"restarted: {AGAIN}"
)
UNCERTAIN = "whether this statement took effect is not known"
"""Where an error says this, it may have been run and kept, or not."""
BROKE = f"The DuckDB node broke off; {UNCERTAIN}. Look, and {AGAIN}"
FENCED = "This node has lost its lease on the catalog, and its answer is withheld: try again in a moment"
