"""Chains of C calls that run from end to end as one: no other thread comes in between, and no garbage collection.

The interpreter lock changes hands only between two bytecodes, so a chain driven from inside ``list`` keeps it. Garbage
collection, which could run some, is off inside the chain and on again at its end: nobody sees it off.
"""

from __future__ import annotations

import gc
import sys
from itertools import chain, starmap
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

ONCE: Final[list[tuple[()]]] = [()]
"""No arguments, once: for ``starmap``, which calls only when it is asked."""


def at_once(work: Iterable[Any]) -> list[Any]:
    """What a chain of C calls yields."""
    if not gc.isenabled():
        return list(work)
    try:
        return list(chain(starmap(gc.disable, ONCE), work, starmap(gc.enable, ONCE)))[1:-1]
    except BaseException:
        gc.enable()
        raise


def other_frames() -> dict[int, FrameType]:
    """The innermost frame of every thread but this one, by ident.

    Python 3.11 makes frame objects with its list of threads locked. Were that to set off a collection, whatever starts a
    thread or asks for the frames in there, we among them, would wait for ever.
    """
    frames: dict[int, FrameType] = at_once(starmap(sys._current_frames, ONCE))[0]
    # The frame that at_once has just left leads back to this one, which would keep both, and every caller's variables.
    del frames[get_ident()]
    return frames
