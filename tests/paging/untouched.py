"""Memory nobody has written to yet: the kernel has no pages for it."""

from __future__ import annotations

import mmap

import numpy as np
from paged import PAGE, seen, tell, watched

from tensorwatch_guard.sharing.pages import PageFollower

follower = PageFollower()
fresh = watched(follower, np.frombuffer(mmap.mmap(-1, 64 * PAGE), np.uint8), 1)
read_first = watched(follower, np.frombuffer(mmap.mmap(-1, 64 * PAGE), np.uint8), 2)
total = int(read_first.sum())
fresh[9 * PAGE] = 1
one = follower.collect()
read_first[9 * PAGE] = 1
tell({"total": total, "fresh": [seen(w) for w in one], "read_first": [seen(w) for w in follower.collect()]})
follower.close()
