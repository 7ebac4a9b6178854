"""Pages written since the last look: never missed, nobody stopped, no privileges."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile

import numpy as np
import pytest

from paging.running import needs_pages, program
from tensorwatch_guard.sharing.pages import PageFollower
from tensorwatch_guard.sharing.written import AsyncPages, async_road

pytestmark = pytest.mark.skipif(not async_road()[0], reason=f"not here: {async_road()[1]}")

PAGE = mmap.PAGESIZE


def memory(count: int) -> np.ndarray:
    return np.frombuffer(mmap.mmap(-1, count * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)


def numbers(array: np.ndarray, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    start = array.ctypes.data
    return [((low - start) // PAGE, (high - start) // PAGE) for low, high in ranges]


def test_the_pages_written_since_the_last_look_are_told_once() -> None:
    array, pages = memory(100), AsyncPages()
    assert pages.add(array.ctypes.data, array.nbytes)
    assert pages.scan() == []
    array[5 * PAGE] = 1
    array[6 * PAGE] = 1
    array[50 * PAGE + 7] = 0
    assert int(array.sum()) == 2
    assert numbers(array, pages.scan()) == [(5, 7), (50, 51)]
    assert pages.scan() == []
    array[50 * PAGE] = 1
    assert numbers(array, pages.scan()) == [(50, 51)]
    pages.close()


def test_more_ranges_than_one_answer_holds() -> None:
    array, pages = memory(4000), AsyncPages()
    pages.add(array.ctypes.data, array.nbytes)
    array[:: 2 * PAGE] = 1
    assert numbers(array, pages.scan()) == [(n, n + 1) for n in range(0, 4000, 2)]
    pages.close()


def test_writes_by_the_kernel_are_seen() -> None:
    array, pages = memory(10), AsyncPages()
    pages.add(array.ctypes.data, array.nbytes)
    with open("/dev/urandom", "rb", buffering=0) as device:
        assert device.readinto(array[2 * PAGE : 5 * PAGE]) == 3 * PAGE
    assert numbers(array, pages.scan()) == [(2, 5)]
    pages.close()


def test_files_in_memory_can_be_watched() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(20 * PAGE)
        array, pages = np.memmap(file.name, np.uint8, "r+"), AsyncPages()
        assert pages.add(array.ctypes.data, array.nbytes)
        array[3 * PAGE] = 1
        assert numbers(array, pages.scan()) == [(3, 4)]
        pages.close()


def test_two_regions_that_share_a_page_both_hear_of_it() -> None:
    array, pages = memory(10), AsyncPages()
    start = array.ctypes.data
    pages.add(start, 3 * PAGE + 100)
    pages.add(start + 3 * PAGE + 100, 3 * PAGE)
    array[3 * PAGE] = 1
    assert numbers(array, pages.scan()) == [(3, 4)]
    pages.remove(start)
    array[0] = array[3 * PAGE] = 2
    assert numbers(array, pages.scan()) == [(3, 4)]
    pages.close()


def test_memory_that_has_gone_is_called_written_or_nothing_at_all() -> None:
    """It must not look watched when something else stands there."""
    pages = AsyncPages()
    array = memory(64)
    start, size = array.ctypes.data, array.nbytes
    pages.add(start, size)
    base = array.base
    del array
    base.close() if isinstance(base, mmap.mmap) else None
    del base
    pages.scan()
    pages.remove(start)
    assert pages.scan() == []
    pages.close()


def test_a_forked_child_watches_nothing_and_says_so() -> None:
    array, pages = memory(10), AsyncPages()
    pages.add(array.ctypes.data, array.nbytes)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        array[PAGE] = 1
        scanned = [(low, high) for low, high in pages.scan() if low <= array.ctypes.data + PAGE < high]
        os.write(write, b"%d %d" % (len(scanned), pages.add(array.ctypes.data, array.nbytes)))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"1 0"
    assert pages.scan() == []
    array[2 * PAGE] = 1
    assert numbers(array, pages.scan()) == [(2, 3)]
    pages.close()
    os.close(read)
    os.close(write)


@needs_pages
def test_memory_lent_to_the_synchronous_road_counts_as_written_and_comes_back() -> None:
    array, pages, follower = memory(32), AsyncPages(), PageFollower()
    pages.add(array.ctypes.data, array.nbytes)
    assert follower.watch(1, array.ctypes.data, array.nbytes)[0] is not None
    array[4 * PAGE] = 1
    assert [write.key for write in follower.collect()] == [1]
    assert numbers(array, pages.scan()) == [(0, 32)]
    follower.close()
    for _ in range(1000):
        if pages.scan() == []:
            break
    array[8 * PAGE] = 1
    assert numbers(array, pages.scan()) == [(8, 9)]
    pages.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_no_privileges_are_needed() -> None:
    found = program("unprivileged.py")
    opened, why = found["async"]
    if found["permitted"]:  # every kernel does that, some sandboxes do not
        assert (opened, why, found["added"], found["written"]) == (True, "open", True, 1)
    else:
        assert (opened, found["added"]) == (False, False)
        assert why not in {"", "open"}


@needs_pages
def test_the_road_is_open_while_others_watch_the_memory_around() -> None:
    around, pages = [ctypes.create_string_buffer(4096) for _ in range(64)], AsyncPages()
    for one in around:
        pages.add(ctypes.addressof(one), len(one))
    del around[::2]  # their place is what the next such buffer gets
    assert async_road() == (True, "open")
    pages.close()
