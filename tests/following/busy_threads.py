"""Threads that all write all the time, each to an array of its own, on one line of a file of its own.

Arguments: how many threads, how many writes each at least, the switch interval in seconds, how many times following
ends and begins again meanwhile, and how many short-lived threads come and go beside.
"""

# ruff: noqa: ANN001

from __future__ import annotations

import collections
import os
import sys
import threading

import numpy as np
from watching import tell, user, watch

from tensorwatch_guard.sharing import lines

SOURCE = """
def f(a, count, until, written):
    done = 0
    while done < count or until:
        done += 1
        x = 1
        a[3] += 1
        y = x
        sum(range(100))
    written.append(done)
"""
LINE = 7


def judge(writes, seen):
    for write in writes:
        right = (f"busy{write.key}.py", LINE)
        blamed = (os.path.basename(write.place.file), write.place.line) if write.place else None
        suspects = {(os.path.basename(place.file), place.line) for place in write.suspects}
        if write.exact:
            seen["exact" if blamed == right else "exact and wrong"] += 1
        else:
            seen["among the suspects" if right in suspects else "not suspected"] += 1
            seen["guessed right"] += blamed == right


def main():
    count, writes, interval, cycles, short = (float(argument) for argument in sys.argv[1:])
    sys.setswitchinterval(interval)
    arrays = [np.zeros(16) for _ in range(int(count))]
    functions = [user(SOURCE, f"/user/busy{key}.py") for key in range(int(count))]
    until, written = [1] * bool(cycles), [[] for _ in arrays]
    threads = [
        threading.Thread(target=f, args=(a, int(writes), until, done))
        for f, a, done in zip(functions, arrays, written, strict=True)
    ]
    follower = lines.make()
    seen = collections.Counter()
    if not cycles:
        started = [watch(follower, key, a) for key, a in enumerate(arrays)]
    for thread in threads:
        thread.start()
    for _ in range(int(cycles)):
        started = [watch(follower, key, a) for key, a in enumerate(arrays)]
        for _ in range(int(short)):
            threading.Thread(target=sum, args=((1, 2),)).start()
        judge(follower.collect(), seen)
        for key in range(len(arrays)):
            follower.unwatch(key)
        judge(follower.collect(), seen)
    until.clear()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.005)
            judge(follower.collect(), seen)
    judge(follower.collect(), seen)
    follower.stop()
    tell(
        started=all(started),
        why=follower.why,
        errors=follower.errors,
        seen=seen,
        more=sum(follower.more.values()),
        intact=[[a[3]] for a in arrays] == written,
        tracing=sys.gettrace() is not None,
    )


main()
