"""What an ordinary user can have: becomes one, then asks."""

from __future__ import annotations

import ctypes
import os

import numpy as np
from paged import PAGE, pages, tell

from tensorwatch_guard.sharing.kernel import MACHINE, UFFD_USER_MODE_ONLY, USERFAULTFD
from tensorwatch_guard.sharing.pages import PageFollower, road
from tensorwatch_guard.sharing.written import AsyncPages, async_road

os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self is its own again, as after a start as that user

# What the kernel says, whatever we make of it.
call, number = ctypes.CDLL(None).syscall, USERFAULTFD.get(MACHINE, -1)
permitted = call(number, UFFD_USER_MODE_ONLY) >= 0
everything = call(number, 0) >= 0 or os.access("/dev/userfaultfd", os.R_OK | os.W_OK)

array = pages(8)
follower = PageFollower()
whole, pieces = follower.watch(1, array.ctypes.data, array.nbytes)
asynchronous = AsyncPages()
added = asynchronous.add(array.ctypes.data, array.nbytes)
array[3 * PAGE] = 1
written = [(low, high) for low, high in asynchronous.scan() if low <= array.ctypes.data + 3 * PAGE < high]
tell({
    "road": road(), "watched": whole, "pieces": len(pieces), "why": follower.why, "supervisor": follower.supervisor,
    "permitted": permitted, "everything": everything,
    "async": async_road(), "added": added, "written": len(written), "sum": int(np.sum(array)),
})
