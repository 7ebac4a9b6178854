"""What the programs in this folder share: a follower, and telling the test what came of it as one JSON line."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorwatch_guard.sharing.pages import PageFollower
    from tensorwatch_guard.words import Write

PAGE = os.sysconf("SC_PAGESIZE")


def pages(count: int, dtype: Any = np.uint8, *, touched: bool = True) -> np.ndarray:
    """An array of so many whole pages and some bytes more on both sides."""
    owner = np.zeros((count + 2) * PAGE, np.uint8)
    if touched:
        owner[:] = 0
    start = -owner.ctypes.data % PAGE + PAGE // 2
    return owner[start : start + (count + 1) * PAGE].view(dtype)


def watched(follower: PageFollower, array: np.ndarray, key: int = 1) -> np.ndarray:
    """The array, all its whole pages watched."""
    whole, _ = follower.watch(key, array.ctypes.data, array.nbytes)
    if whole is None:
        sys.exit(f"not watched: {follower.why}")
    return array


def seen(write: Write) -> dict[str, Any]:
    """A write as JSON takes it."""
    place = write.place
    return {
        "key": write.key,
        "first": write.first,
        "file": os.path.basename(place.file) if place else None,
        "line": place.line if place else None,
        "function": place.function if place else None,
        "thread": write.thread,
        "writer": write.writer,
        "exact": write.exact,
        "by": write.by,
    }


def each(follower: PageFollower, cases: list[Callable[[], object]]) -> dict[str, Any]:
    """Run every case by itself; its writes under its name."""
    found: dict[str, Any] = {}
    for case in cases:
        case()
        found[case.__name__] = [seen(write) for write in follower.collect()]
    return found


def tell(value: Any) -> None:
    """The last line of the output is the test's."""
    print(json.dumps(value), flush=True)
