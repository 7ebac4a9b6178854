"""Six threads that write as fast as they can, each on lines and to an array of its own, while all is collected."""

from __future__ import annotations

import collections
import os
import sys
import threading

import numpy as np
import torch
from paged import tell, watched

from tensorwatch_guard.sharing.pages import PageFollower

SOURCE = """
def write(array, tensor, count):
    for i in range(count):
        array[5000 + i % 30000] += 1
        if tensor is not None:
            tensor[9000:9100].mul_(1)
"""
THREADS = 6
COUNT = int(sys.argv[1])
torch.set_num_threads(1)
follower = PageFollower()
arrays = [np.zeros(40000, np.float32) for _ in range(THREADS)]
start = threading.Barrier(THREADS + 1)


def run(key: int):
    names = {}
    exec(compile(SOURCE, f"/threads/of/mine/{key}.py", "exec"), names)
    start.wait()
    names["write"](arrays[key], torch.from_numpy(arrays[key]) if key % 2 else None, COUNT)


threads = [threading.Thread(target=run, args=(key,), name=f"writer {key}") for key in range(THREADS)]
seen = collections.Counter()


def look(turn: int):
    for write in follower.collect():
        name = os.path.basename(write.place.file) if write.place else None
        seen["exact"] += write.exact
        right = name == f"{write.key}.py" and write.place.line in {4, 6} and write.thread == f"writer {write.key}"
        right = right and write.writer == ("numpy" if write.place.line == 4 else "torch")
        seen["right" if right else f"wrong: {name} {write}"] += 1
    if turn % 5 == 0:
        # a new watch each time: the limit of events a line is for each by itself
        watched(follower, arrays[turn // 5 % THREADS], turn // 5 % THREADS)


for key in range(THREADS):
    watched(follower, arrays[key], key)
for thread in threads:
    thread.start()
start.wait()
turn = 0
while any(thread.is_alive() for thread in threads):
    turn += 1
    look(turn)
for thread in threads:
    thread.join()
look(1)
seen = dict(seen, turns=turn, intact=all(float(array.sum()) == COUNT for array in arrays), why=follower.why)
follower.close()
tell(seen)
