"""Large shared memory is remembered as hashes of its blocks, piece by piece, within the budget."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest

from sharing_regions import region_of, watch, weakly
from tensorwatch_guard.sharing.contents import Contents

BLOCK = 65536


class Clock:
    """Nanoseconds that pass only when told, and ``tick`` at each question."""

    def __init__(self, tick: Any = 0):
        self.now = 0
        self.tick = tick

    def __call__(self):
        self.now += self.tick
        return self.now


class Written:
    """A kernel that is told which pages were written."""

    def __init__(self):
        self.watched = {}
        self.dirty = []
        self.scans = 0
        self.broken = False

    def add(self, address: Any, nbytes: Any):
        if self.broken:
            raise OSError(1, "no")
        assert address % mmap.PAGESIZE == nbytes % mmap.PAGESIZE == 0
        self.watched[address] = nbytes
        return True

    def remove(self, address: Any):
        del self.watched[address]

    def scan(self):
        if self.broken:
            raise OSError(1, "no")
        self.scans += 1
        told, self.dirty = self.dirty, []
        return told

    def write(self, array: Any, index: Any):
        array[index] += 1
        page = (array.ctypes.data + index * array.itemsize) // mmap.PAGESIZE * mmap.PAGESIZE
        self.dirty.append((page, page + mmap.PAGESIZE))


def rich(**options: Any) -> Contents:
    """Contents that need not save time."""
    return Contents(share=1000.0, **options)


def settled(contents: Any, looks: Any = 4):
    for turn in range(looks):
        assert contents.look(stamp=turn) == []


def test_a_write_is_found_in_its_block():
    array = np.zeros(5 * BLOCK, np.uint8)
    contents = rich()
    watch(contents, 1, array)
    settled(contents)
    array[2 * BLOCK + 5] = 1
    [(change, since)] = contents.look(stamp="now")
    assert (change.first, change.last) == (2 * BLOCK, 3 * BLOCK)
    assert change.before is None
    assert change.after == array[2 * BLOCK : 2 * BLOCK + 4096].tobytes()
    assert since == 3
    assert contents.look() == []


def test_the_last_block_ends_with_the_region():
    array = np.zeros(BLOCK + 10, np.uint8)
    contents = rich()
    watch(contents, 1, array)
    settled(contents)
    array[-1] = 1
    [(change, _)] = contents.look()
    assert (change.first, change.last) == (BLOCK, BLOCK + 10)


def test_equal_bytes_are_no_change_and_a_shuffle_is_one():
    array = np.arange(200_000)
    contents = Contents()
    watch(contents, 1, array)
    contents.look(whole=True)
    array[:] = np.arange(200_000)
    assert contents.look(whole=True) == []
    np.random.default_rng(0).shuffle(array)
    assert len(contents.look(whole=True)) == 1


def test_without_xxhash_there_is_another_hash(monkeypatch: Any):
    import sys

    monkeypatch.setitem(sys.modules, "xxhash", None)
    array = np.zeros(5 * BLOCK, np.uint8)
    contents = rich()
    watch(contents, 1, array)
    settled(contents)
    array[7] = 1
    assert len(contents.look()) == 1


def test_the_first_fingerprint_is_taken_piece_by_piece():
    clock = Clock(tick=100_000)  # each question costs 0.1 ms: a look has time for some blocks
    array = np.zeros(200 * BLOCK, np.uint8)
    contents = Contents(share=0.02, clock=clock)
    watch(contents, 1, array)
    contents.look()  # spends what was saved before the start
    first = contents.missed()["unread_bytes"]
    assert 0 < first < array.nbytes
    contents.look()
    assert contents.missed()["unread_bytes"] == first
    clock.now += 10**8
    contents.look()
    assert contents.missed()["unread_bytes"] < first
    while contents.missed()["unread_bytes"]:
        clock.now += 10**8
        assert contents.look() == []
    assert contents.missed()["looks_cut"] >= 3


def test_no_look_costs_more_than_was_saved_up():
    clock = Clock(tick=20_000)
    array = np.zeros(4000 * BLOCK, np.uint8)
    contents = Contents(share=0.02, clock=clock)
    watch(contents, 1, array)
    longest = 0
    for _ in range(50):
        clock.now += 10**9  # a second of training: 20 ms may be spent, but never in one go
        started = clock.now
        contents.look()
        longest = max(longest, clock.now - started)
    assert 9_000_000 < longest < 11_000_000


def test_a_change_found_late_is_dated_from_the_last_complete_pass():
    clock = Clock(tick=0)
    array = np.zeros(40 * BLOCK, np.uint8)
    contents = Contents(share=1.0, clock=clock)
    watch(contents, 1, array, stamp="made")
    contents.look(stamp="complete")
    assert contents.seen(1) == "complete"
    clock.tick = 10**9  # from here on four blocks a look
    for turn in range(3):
        assert contents.look(stamp=turn) == []
    array[BLOCK] = 1  # this pass has been there
    array[39 * BLOCK] = 1
    found = {}
    for turn in range(3, 40):
        found.update({change.first // BLOCK: (since, turn) for change, since in contents.look(stamp=turn)})
    assert found[39] == ("complete", 9)
    since, seen = found[1]
    assert since == 0
    assert seen > 9


def test_many_large_regions_come_by_turn():
    clock = Clock(tick=10**7)
    arrays = [np.zeros(3 * BLOCK, np.uint8) for _ in range(10)]
    contents = Contents(share=10.0, clock=clock)
    for key, array in enumerate(arrays):
        watch(contents, key, array)
    for _ in range(20):
        contents.look()
    assert contents.missed()["unread_bytes"] == 0
    for array in arrays:
        array[...] += 1
    assert sorted(change.key for _ in range(30) for change, _ in contents.look()) == list(range(10))


def test_small_regions_do_not_starve_large_ones_nor_the_other_way_round():
    clock = Clock(tick=1000)
    small = [np.zeros(600) for _ in range(500)]
    large = [np.zeros(8 * BLOCK, np.uint8) for _ in range(5)]
    contents = Contents(share=0.5, clock=clock)
    for key, array in enumerate([*small, *large]):
        watch(contents, key, array)
    for _ in range(300):
        contents.look()
    for array in [*small, *large]:
        array[...] += 1
    found = {change.key for _ in range(400) for change, _ in contents.look()}
    assert found == set(range(505))


def test_a_neighbours_write_in_the_gaps_of_a_large_region_is_no_change():
    matrix = np.zeros((50_000, 6), np.float32)
    column = matrix[:, 2:4]
    contents = Contents()
    watch(contents, 1, column)
    for _ in range(4):
        contents.look(whole=True)
    matrix[:, 0] = 1
    matrix[:, 5] = 1
    assert contents.look(whole=True) == []
    matrix[30_000, 3] = 1
    [(change, _)] = contents.look(whole=True)
    assert change.first <= 30_000 * 24 + 4 < change.last
    assert change.last - change.first < 10_000 * 24


def test_large_regions_of_many_dimensions_with_gaps():
    cube = np.zeros((3, 40, 100, 64), np.float32)
    inner = cube[:, 1:, ::-2, :60]
    contents = Contents()
    watch(contents, 1, inner)
    for _ in range(4):
        contents.look(whole=True)
    cube[:, 0] = 1
    cube[..., 60:] = 1
    cube[:, :, ::2] = 1  # the reversed walk begins at 99, so even rows are not its own
    assert contents.look(whole=True) == []
    for index in [(0, 1, 1, 0), (2, 39, 99, 59), (1, 20, 51, 33)]:
        cube[index] += 1
        [(change, _)] = contents.look(whole=True)
        offset = sum(i * s for i, s in zip(index, cube.strides, strict=True)) + cube.ctypes.data
        assert change.first <= offset - region_of(inner).address < change.last


def test_a_large_files_memory_is_not_read(tmp_path: Any):
    path = tmp_path / "data"
    path.write_bytes(bytes(4 << 20))
    array = np.memmap(path, np.uint8, "r+")
    contents = Contents()
    assert not watch(contents, 1, array, file_backed=True)
    array[5] = 1
    assert contents.look(whole=True) == []
    assert contents.missed()["file_bytes"] == 4 << 20
    contents.drop(1)
    assert contents.missed()["file_bytes"] == 0


def test_a_small_files_memory_is_compared(tmp_path: Any):
    path = tmp_path / "data"
    path.write_bytes(bytes(500_000))
    array = np.memmap(path, np.uint8, "r+")
    contents = Contents()
    assert watch(contents, 1, array, file_backed=True)
    contents.look(whole=True)
    array[5] = 1
    assert len(contents.look(whole=True)) == 1


def test_the_kernel_watches_what_stays_cold_and_says_where_to_look():
    pages = Written()
    array = np.zeros(8 << 20, np.uint8)
    contents = Contents(pages=pages)
    watch(contents, 1, array)
    for turn in range(5):
        assert contents.look(stamp=turn, whole=True) == []
    assert len(pages.watched) == 1
    pages.write(array, 3 << 20)
    [(change, since)] = contents.look(stamp="now", whole=True)
    assert (change.first, change.last, since) == (3 << 20, (3 << 20) + BLOCK, 4)
    pages.dirty.append((array.ctypes.data + 8192, array.ctypes.data + 12288))  # written with equal bytes
    assert contents.look(whole=True) == []


def test_the_edges_of_the_region_share_their_pages_and_are_compared_always():
    pages = Written()
    array = np.zeros(8 << 20, np.uint8)[100:-100]
    contents = Contents(pages=pages)
    watch(contents, 1, array)
    for _ in range(5):
        contents.look(whole=True)
    array[0] = 1
    assert len(contents.look(whole=True)) == 1
    array[-1] = 1
    assert len(contents.look(whole=True)) == 1


def test_what_was_written_before_the_kernel_watched_is_not_lost():
    class Late(Written):
        def add(self, address: Any, nbytes: Any):
            array[4 << 20] = 1  # after its hash was taken, before its page is protected
            return super().add(address, nbytes)

    array = np.zeros(8 << 20, np.uint8)
    contents = Contents(pages=Late())
    watch(contents, 1, array)
    assert sum(len(contents.look(whole=True)) for _ in range(6)) == 1


def test_hot_memory_is_taken_back_from_the_kernel():
    pages = Written()
    array = np.zeros(4 << 20, np.uint8)
    contents = Contents(pages=pages)
    watch(contents, 1, array)
    for _ in range(5):
        contents.look(whole=True)
    assert pages.watched
    for _ in range(4):
        array += 1
        pages.dirty.append((array.ctypes.data // 4096 * 4096, array.ctypes.data + (4 << 20)))
        assert len(contents.look(whole=True)) == 1
    assert not pages.watched
    for _ in range(3):
        array += 1
        assert len(contents.look(whole=True)) == 1


def test_a_dropped_region_is_given_back_to_the_kernel():
    pages = Written()
    array = np.zeros(4 << 20, np.uint8)
    contents = Contents(pages=pages)
    watch(contents, 1, array)
    for _ in range(5):
        contents.look(whole=True)
    contents.drop(1)
    contents.look()
    assert not pages.watched


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_kernel_that_refuses_is_done_without(when: Any):
    pages = Written()
    pages.broken = when == "at once"
    array = np.zeros(4 << 20, np.uint8)
    contents = Contents(pages=pages)
    watch(contents, 1, array)
    for _ in range(5):
        assert contents.look(whole=True) == []
    pages.broken = True
    array[5] = 1
    assert len(contents.look(whole=True)) == 1


def test_a_large_file_under_the_kernels_eyes_is_read_only_where_it_was_written(tmp_path: Any):
    path = tmp_path / "data"
    path.write_bytes(bytes(8 << 20))
    pages = Written()
    array = np.memmap(path, np.uint8, "r+")
    contents = rich(pages=pages)
    assert watch(contents, 1, array, file_backed=True)
    contents.look()
    assert pages.watched
    pages.write(array, 5)
    assert contents.look() == []  # the first write leaves nothing to compare with
    pages.write(array, 5)
    assert len(contents.look()) == 1


def test_more_copies_than_the_limit_become_hashes(monkeypatch: Any):
    monkeypatch.setattr("tensorwatch_guard.sharing.contents.COPIES_LIMIT", 100_000)
    arrays = [np.zeros(30_000, np.uint8) for _ in range(10)]
    contents = Contents()
    for key, array in enumerate(arrays):
        contents.add(key, region_of(array), weakly(array))
    contents.look(whole=True)
    for array in arrays:
        array[9] = 1
    found = [change for change, _ in contents.look(whole=True)]
    assert sorted(change.key for change in found) == list(range(10))
    assert sum(change.before is None for change in found) == 6
