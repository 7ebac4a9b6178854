"""Garbage collection ends following at the worst moment: while the interpreter makes ready to call a trace function.

With ``again`` following begins anew before the collection is over.
"""

# ruff: noqa: ANN001, E702

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
from watching import tell, watch

from tensorwatch_guard.sharing import lines

follower, kept = lines.make(), np.zeros(4)


class Ring:
    """Keeps an array until it is collected."""

    def __init__(self, array):
        self.array, self.ring = array, self


def watch_garbage():
    a = np.zeros(4)
    if "again" in sys.argv:
        weakref.finalize(a, watch, follower, 2, kept)  # the older weak reference is called later
    watch(follower, 1, a)
    Ring(a)


def nothing():
    pass


def main():
    gc.collect(); gc.disable(); gc.set_threshold(1)
    watch_garbage()
    gc.enable(); nothing()  # what is allocated first is the frame object for the event of this call
    gc.set_threshold(700)
    running = follower.running
    kept[1] = 1.0
    told = [write.key for write in follower.collect()]
    follower.stop()
    tell(errors=follower.errors, running=running, tracing=sys.gettrace() is not None, told=told)


main()
