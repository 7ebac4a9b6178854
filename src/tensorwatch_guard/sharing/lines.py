"""The lines road of exact mode: follow the user's lines, compare watched memory after each, blame the right one.

It is everybody's road: it needs no privileges, works for memory of any size and sees what happens inside system
calls and library code as part of the user's line that made the call.
"""

from __future__ import annotations

import sys

from .follow import LineFollower

__all__ = ["LineFollower", "make"]

# Imported now, not when the first line is followed: a child that is forked amid an import waits for its lock for ever.
_follower: type[LineFollower]
if hasattr(sys, "monitoring"):
    from .monitoring import MonitoringFollower

    _follower = MonitoringFollower
else:
    from .settrace import SettraceFollower

    _follower = SettraceFollower


def make() -> LineFollower:
    """A follower that has not started: with ``sys.monitoring`` from Python 3.12 on, before that ``sys.settrace``."""
    return _follower()
