"""What exact mode costs while it follows: the lines road by the user's line, the pages road by the write.

python benchmarks/following.py [--json FILE] [--quick]
"""

from __future__ import annotations

import sys
import textwrap
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import Tables, figure, processor

from tensorwatch_guard.sharing import lines
from tensorwatch_guard.sharing.pages import PageFollower, road

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = 40_000


def plain(count: int) -> int:
    """Ten short lines a turn, none of which calls anything."""
    a = b = 0
    for turn in range(count // 10):
        a = turn
        b = a + 1
        a = b + 1
        b = a + 1
        a = b + 1
        b = a + 1
        a = b + 1
        b = a + 1
        a = b + 1
    return a


def calling(count: int) -> str:
    """Calls of a library's Python function, one in a turn."""
    found = ""
    for _ in range(count):
        found = textwrap.indent("", "")
    return found


def writing(array: np.ndarray) -> Callable[[int], None]:
    """Each turn writes."""

    def run(count: int) -> None:
        for turn in range(count // 2):
            array[turn & 63] = turn + 1

    return run


def follow(array: np.ndarray, run: Callable[[int], Any], count: int) -> tuple[float, float]:
    """Seconds bare and followed."""
    bare = processor(lambda: run(count))
    follower = lines.make()
    began = follower.watch(1, array.ctypes.data, array.nbytes, weakref.ref(array))
    assert began, follower.why
    try:
        followed = processor(lambda: run(count))
    finally:
        follower.unwatch(1)
    return bare, followed


def by_lines(tables: Tables) -> None:
    """Lines that write nothing, that call, and that write."""
    how = "sys.monitoring" if hasattr(sys, "monitoring") else "settrace"
    tables.table(f"Lines ({how}), an array of 256 B is watched (aim: 0.2 us a line, 0.6 us a call)")
    programs = (
        ("a line", plain, LINES),
        ("a call of a library function, with its turn's two lines", calling, LINES // 10),
        ("a line that writes", None, 2000),
    )
    for name, run, count in programs:
        over = []
        for _ in range(tables.fewer(7, 2)):
            array = np.zeros(64, np.float32)
            bare, followed = follow(array, run or writing(array), count)
            over.append((followed - bare) / count * 1e6)
        each = figure(over, "us")
        tables.row(name, {"each, over bare": each, "spread": each.noise()})


def by_pages(tables: Tables) -> None:
    """A write of one line to a watched megabyte; and reads of it, which make no event. Wall time: another process works."""
    tables.table("Pages, an array of 1 MiB is watched; wall time, because another process works (aim: 250 us, idle 1.01)")
    possible, why = road()
    if not possible:
        tables.row("not possible here", {"because": why})
        return
    array = np.ones(1 << 18, np.float32)
    follower = PageFollower()
    whole, _ = follower.watch(1, array.ctypes.data, array.nbytes)
    assert whole is not None, follower.why
    middle_of = len(array) // 2
    took, collecting = [], []
    for turn in range(200):
        began = time.perf_counter()
        array[middle_of] = turn + 2
        ended = time.perf_counter()
        found = follower.collect()
        collecting.append((time.perf_counter() - ended) * 1e6)
        if found:
            took.append((ended - began) * 1e6)
    event, collect = figure(took, "us", 0), figure(collecting, "us", 0)
    tables.row("a write that makes an event", {"median": event, "spread": event.noise(), "of": str(len(took))})
    tables.row("collecting it and watching again", {"median": collect, "spread": collect.noise(), "of": "200"})
    follower.unwatch(1)
    ratios = []
    for _ in range(9):
        bare = processor(lambda: [array.sum() for _ in range(600)])
        follower.watch(1, array.ctypes.data, array.nbytes)
        ratios.append(processor(lambda: [array.sum() for _ in range(600)]) / bare)
        follower.unwatch(1)
    idle = figure(ratios, "x bare", 3)
    tables.row("reads of it while it is watched", {"median": idle, "spread": idle.noise(), "of": "9"})
    follower.close()


def main() -> None:
    """Measure and print."""
    tables = Tables("Cost of following writes")
    by_lines(tables)
    by_pages(tables)
    tables.end()


if __name__ == "__main__":
    main()
