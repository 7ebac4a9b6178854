"""Threads that watch large arrays, write to them and let them die while the others compare: memory that is unmapped.

Arguments: how many threads, how many arrays each.
"""

# ruff: noqa: ANN001

from __future__ import annotations

import itertools
import sys
import threading

import numpy as np
from watching import tell, watch

from tensorwatch_guard.sharing import lines

keys = itertools.count(1)


def run(follower, count, lost):
    for _ in range(count):
        a = np.zeros(40_000)  # large enough for the allocator to give its pages back
        key = next(keys)
        watched = watch(follower, key, a)
        a[0] = key
        b = a[:10]
        del a
        b[1] = key
        del b
        lost.append(not watched)


def main():
    sys.setswitchinterval(1e-4)
    threads, count = int(sys.argv[1]), int(sys.argv[2])
    follower, lost = lines.make(), []
    others = [threading.Thread(target=run, args=(follower, count, lost)) for _ in range(threads)]
    for thread in others:
        thread.start()
    written = 0
    for thread in others:
        while thread.is_alive():
            thread.join(0.01)
            written += len(follower.collect())
    written += len(follower.collect()) + sum(follower.more.values())
    tell(
        errors=follower.errors,
        why=follower.why,
        running=follower.running,
        watched=lost.count(False),
        written=written,
    )


main()
