"""Patterns with * and ?, as ssh_config(5) and sshd(8) have them."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Not fnmatch: the brackets of "[host]:port" would be a character class there.
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.DOTALL)


def matches(text: str, pattern: str) -> bool:
    """Whether one pattern fits the whole of `text`."""
    return _compiled(pattern).fullmatch(text) is not None


def in_list(text: str, patterns: str) -> bool:
    """Whether a list with commas fits: one that is negated decides, else any."""
    each = patterns.split(",")
    if any(p.startswith("!") and matches(text, p[1:]) for p in each):
        return False
    return any(matches(text, p) for p in each if not p.startswith("!"))
