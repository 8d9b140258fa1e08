"""The mark of a session that is no node's: it ends when it is idle, although the nodes' may stay for ever."""

from __future__ import annotations

PASSING = "/* passing */ "
"""What each statement of such a session begins with."""
