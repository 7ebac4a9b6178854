"""What makes an event and what makes none: one small story a function."""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
import weakref
from types import FrameType

import numpy as np
from paged import PAGE, each, pages, seen, tell, watched

from tensorwatch_guard.sharing.pages import EVENTS_A_SITE, PageFollower


def lines_in_a_row(follower: PageFollower):
    array = watched(follower, pages(10))
    found = []

    def look(frame: FrameType, event: str, argument: object):
        found.extend(seen(write)["line"] for write in follower.collect())
        return look

    def burst():
        array[:] = 1  # burst
        array[3000:30000] = 3
        array[PAGE * 3] = 5
        array[PAGE * 4] = 6
        array.fill(2)

    for _ in range(4):
        sys.settrace(look)
        burst()
        sys.settrace(None)
    return found


def one_write_is_one_event(follower: PageFollower):
    array = watched(follower, pages(2000))
    return each(follower, [lambda: array.fill(1)])["<lambda>"]


def until_collected(follower: PageFollower):
    """Further writes to what is open already are no events of their own, and reads never are."""
    array = watched(follower, pages(10))
    array[PAGE * 2] = 1
    array[PAGE * 3] = 1
    total = int(array.sum())
    return {"total": total, "writes": [seen(write) for write in follower.collect()], "again": len(follower.collect())}


def overlapping(follower: PageFollower):
    array = pages(10)
    first = watched(follower, array[: 6 * PAGE], 1)
    second = watched(follower, array[3 * PAGE :], 2)
    found = {}
    first[:] = 1
    found["both"] = sorted(write.key for write in follower.collect())
    array[PAGE] = 2
    found["only the first"] = sorted(write.key for write in follower.collect())
    second[-PAGE] = 2
    found["only the second"] = sorted(write.key for write in follower.collect())
    follower.unwatch(1)
    array[4 * PAGE] = 3
    found["the second still"] = sorted(write.key for write in follower.collect())
    return found


def edges_are_left(follower: PageFollower):
    array = pages(3)
    whole, pieces = follower.watch(1, array.ctypes.data, array.nbytes)
    array[0] = array[-1] = 1
    return {
        "whole": [whole[0] - array.ctypes.data, whole[1]],
        "pieces": [[start - array.ctypes.data, length] for start, length in pieces],
        "writes": len(follower.collect()),
    }


def small_memory(follower: PageFollower):
    array = np.zeros(10)
    return {"same": follower.watch(1, array.ctypes.data, 80) == (None, [(array.ctypes.data, 80)]), "why": follower.why}


def file_memory(follower: PageFollower):
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(8 * PAGE)
        array = np.memmap(file.name, np.uint8, "r+")
        whole, pieces = follower.watch(1, array.ctypes.data, array.nbytes)
        array[5000] = 1
        return {"whole": whole, "pieces": len(pieces), "why": follower.why, "writes": len(follower.collect())}


def many_of_one_line(follower: PageFollower):
    array = watched(follower, pages(4))
    told = 0
    for turn in range(200):
        array[PAGE] = turn  # many_of_one_line
        told += len(follower.collect())
    counted = sum(follower.more.values())
    last = []
    for _ in range(20):  # watched at least once in sixteen turns
        array[2 * PAGE] = 9  # another_line
        last += [seen(write)["line"] for write in follower.collect()]
    return {"told": told, "limit": EVENTS_A_SITE, "counted": counted, "another_line": last}


def rearmed(follower: PageFollower):
    array = watched(follower, pages(4))
    array[PAGE] = 1
    follower.rearm()
    array[PAGE] = 2
    return len(follower.collect())


def the_view(follower: PageFollower):
    array = watched(follower, pages(4))
    view = follower.new_event_view()
    before = bytes(view)
    array[PAGE] = 1
    after = bytes(view)
    follower.collect()
    return {"changed": before != after, "bytes": len(view), "quiet": bytes(view) == after}


def after_the_end_of_its_memory(follower: PageFollower):
    """A weak reference's call-back ends the watch; whoever has the memory next is a stranger."""
    size = 1 << 20
    kept = []
    for turn in range(50):
        owner = np.zeros(size, np.uint8)
        watched(follower, owner, turn)
        kept.append(weakref.ref(owner, lambda _, turn=turn: follower.unwatch(turn)))
        owner[PAGE * 2] = 1
        del owner
        gc.collect()
        stranger = np.ones(size, np.uint8)
        stranger[:] = 2
        del stranger
    return {"keys": [write.key for write in follower.collect()], "lines": len(follower.more)}


def from_a_call_back_in_the_middle(follower: PageFollower):
    """Ending and beginning watches on a thread that is inside ``watch`` or ``collect`` already."""
    array = watched(follower, pages(4))
    follower.watch(2, array.ctypes.data, array.nbytes)

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            follower.unwatch(2)
            follower.watch(2, array.ctypes.data, array.nbytes)

    gc.set_threshold(1)
    for _ in range(300):
        Cycle()
        array[PAGE] += 1
        follower.collect()
    gc.set_threshold(700)
    follower.unwatch(2)
    follower.watch(1, array.ctypes.data, array.nbytes)
    array[PAGE] = 1
    return [write.key for write in follower.collect()]


def watched_by_many_threads(follower: PageFollower):
    def work(key: int):
        array = pages(3)
        for _ in range(100):
            watched(follower, array, key)
            array[PAGE] = 1
            follower.unwatch(key)

    workers = [threading.Thread(target=work, args=(key,)) for key in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(follower.collect())


def closed_with_writes_left(follower: PageFollower):
    array = watched(follower, pages(4))
    array[PAGE] = 1
    follower.close()
    array[PAGE] = 2
    left = [seen(write)["line"] is not None for write in follower.collect()]
    watched(follower, array)
    array[PAGE] = 3
    return {"left": left, "again": len(follower.collect())}


if __name__ == "__main__":
    one = PageFollower()
    tell(globals()[sys.argv[1]](one))
    one.close()
