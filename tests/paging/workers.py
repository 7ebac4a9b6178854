"""Operations that ATen spreads over native threads: whichever thread writes first, the line is that of the call."""

from __future__ import annotations

import threading

import numpy as np
import torch
from paged import seen, tell, watched

from tensorwatch_guard.sharing.pages import EVENTS_A_SITE, PageFollower

TIMES = 150
follower = PageFollower()
torch.set_num_threads(2)
array = np.zeros(1 << 20, np.float32)
tensor = torch.from_numpy(array)
asleep = threading.Event()
threading.Thread(target=asleep.wait, name="asleep").start()


def spread():
    tensor.add_(1)  # spread


def watching(part: np.ndarray):
    """The writes of many calls, each call's by itself, while that part of the memory is watched."""
    found = []
    for turn in range(TIMES):
        if turn % EVENTS_A_SITE == 0:
            watched(follower, part)
        spread()
        found.append([seen(w) for w in follower.collect()])
    return found


whole = watching(array)
last_quarter = watching(array[array.size * 3 // 4 :])
asleep.set()
tell({"whole": whole, "last_quarter": last_quarter, "intact": bool((array == 2 * TIMES).all())})
follower.close()
