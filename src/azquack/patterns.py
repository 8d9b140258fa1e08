"""The module for patterns with possessive quantifiers and atomic groups, which keep a search linear.

Python 3.11.0 to 3.11.4 do not go back to where such a group began when it matches in part only (gh-106052), and Debian
12 has 3.11.2: there it is `regex`, which has them right and takes two to six times as long.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

__all__ = ["re"]

if TYPE_CHECKING or sys.version_info >= (3, 11, 5):
    import re
else:
    import regex as re
