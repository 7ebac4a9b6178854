"""Memory is never read after its end, and nothing is kept alive."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from sharing_regions import region_of, region_of_tensor, watch, weakly
from tensorwatch_guard.sharing.contents import Contents
from tensorwatch_guard.words import Region

BIG = 3 << 20


def test_a_dropped_region_is_not_read_although_its_bytes_change():
    array = np.zeros(8)
    contents = Contents()
    watch(contents, 1, array)
    contents.look()
    contents.drop(1)
    array += 1
    assert contents.look() == []
    assert contents.peek(1) == []
    assert contents.seen(1) is None


def test_dropping_the_unknown_is_nothing():
    Contents().drop(99)


@pytest.mark.parametrize("nbytes", [64, 4096, 60_000, BIG])
def test_memory_that_is_unmapped_is_not_touched_after_drop(nbytes: Any):
    import mmap

    mapping = mmap.mmap(-1, max(nbytes, mmap.PAGESIZE))
    array = np.frombuffer(mapping, np.uint8, nbytes)
    contents = Contents()
    contents.add(1, region_of(array), weakref.ref(array))
    contents.look()
    contents.drop(1)
    del array
    mapping.close()  # reading it now would end the process
    for _ in range(5):
        contents.look(whole=True)
        contents.peek(1)
    assert contents.look([1]) == []


@pytest.mark.parametrize("nbytes", [64, BIG])
def test_an_owner_that_says_it_moved_is_not_read_and_is_told_once(nbytes: Any):
    array = np.zeros(nbytes, np.uint8)
    where: list[object | None] = [array]
    contents = Contents()
    contents.add(1, region_of(array), lambda: where[0])
    contents.look()
    where[0] = None
    array += 1
    assert contents.look(whole=True) == []
    if nbytes == 64:
        assert contents.unheld() == [1]
        assert contents.unheld() == []
    where[0] = array
    assert nbytes == BIG or len(contents.look()) == 1


@pytest.mark.parametrize("nbytes", [64, 40_000, BIG])
def test_no_reference_is_kept(nbytes: Any):
    array = np.zeros(nbytes, np.uint8)
    contents = Contents()
    watch(contents, 1, array)
    before = sys.getrefcount(array)
    for _ in range(5):
        contents.look(whole=True)
        contents.peek(1)
        array += 1
    assert sys.getrefcount(array) == before
    gone = weakref.ref(array)
    del array
    assert gone() is None


@pytest.mark.parametrize("nbytes", [4096, BIG])
def test_the_last_reference_dropped_by_autograds_engine_while_another_thread_looks(nbytes: Any):
    contents = Contents(share=100.0)
    weight = torch.ones(nbytes // 4, requires_grad=True)
    stop, failures = threading.Event(), []

    def look():
        try:
            while not stop.is_set():
                contents.look(whole=True)
                contents.peek(None)
        except BaseException as failure:
            failures.append(failure)

    looker = threading.Thread(target=look)
    looker.start()
    died = []
    for key in range(60 if nbytes > 4096 else 600):
        data = torch.full((nbytes // 4,), 7.0)
        storage = weakref.ref(data.untyped_storage(), lambda _, key=key: (contents.drop(key), died.append(key)))
        contents.add(key, region_of_tensor(data), storage)
        loss = (weight * data).sum()
        del data
        loss.backward()
        del loss
    stop.set()
    looker.join()
    assert failures == []
    assert len(died) == key + 1
    assert contents.missed()["unread_bytes"] == 0


@pytest.mark.parametrize("nbytes", [64, 4096, 1 << 20, 64 << 20])
def test_weak_reference_callbacks_come_before_the_memory_is_freed(nbytes: Any):
    """What the module relies on: in the call-back the bytes are still there."""
    import ctypes

    seen = []

    def watch_death(owner: Any, address: Any):
        return weakref.ref(owner, lambda _: seen.append(ctypes.string_at(address + nbytes - 8, 8)))

    array = np.full(nbytes, 7, np.uint8)
    references = [watch_death(array, array.ctypes.data)]
    del array
    tensor = torch.full((nbytes,), 7, dtype=torch.uint8)
    references.append(watch_death(tensor.untyped_storage(), tensor.data_ptr()))
    del tensor
    weight = torch.ones(nbytes // 4, requires_grad=True)
    data = torch.full((nbytes,), 7, dtype=torch.uint8)
    references.append(watch_death(data.untyped_storage(), data.data_ptr()))
    loss = (weight * data.view(torch.float32)).sum()
    del data
    loss.backward()
    del loss
    assert seen == [b"\7" * 8] * 3


def test_short_lives_between_two_looks_cost_no_memory():
    import tracemalloc

    array = np.zeros(60_000, np.uint8)
    region, hold = region_of(array), weakly(array)
    contents = Contents()
    tracemalloc.start()
    for key in range(5000):
        contents.add(key, region, hold)
        contents.drop(key)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert now < 1 << 17


def test_places_of_the_dead_are_used_again():
    arrays = [np.zeros(4) for _ in range(100)]
    contents = Contents()
    for turn in range(20):
        for key, array in enumerate(arrays):
            watch(contents, (turn, key), array)  # any hashable names a region
        contents.look()
        for key in range(0, 100, 3):
            contents.drop((turn, key))
        for array in arrays:
            array[...] += 1
        assert len(contents.look(whole=True)) == 66
        for key in range(100):
            contents.drop((turn, key))
        assert contents.look() == []


def test_a_destructor_may_ask_add_and_drop_in_the_middle_of_a_look():
    contents = Contents()
    arrays = [np.zeros(4) for _ in range(8)]
    asked = []

    class Owner:
        def __del__(self):
            if asked:
                return
            contents.drop(3)
            contents.add(50, region_of(arrays[5]), weakly(arrays[5]))
            asked.append(contents.look())

    def hold():
        Owner()
        return arrays[0]

    contents.add(0, region_of(arrays[0]), hold)
    for key in range(1, 4):
        watch(contents, key, arrays[key])
        arrays[key] += 1
    assert {change.key for change, _ in contents.look()} <= {1, 2, 3}
    assert asked
    assert asked[0] == []
    arrays[5] += 1
    assert 50 in {change.key for change, _ in contents.look()}


def test_versions_and_warnings_stay_as_they_are(recwarn: Any):
    tensor = torch.zeros(100, requires_grad=True)
    contents = Contents()
    storage = tensor.untyped_storage()
    contents.add(1, region_of_tensor(tensor), weakref.ref(storage))
    with torch.no_grad():
        tensor += 1
    version = tensor._version
    assert len(contents.look()) == 1
    assert tensor._version == version
    gc.collect()
    assert not recwarn.list


def test_a_region_may_lie_anywhere():
    array = np.zeros(10_000, np.uint8)
    contents = Contents()
    base = array.ctypes.data
    for key, (first, length) in enumerate([(1, 1), (3, 4), (4095, 2), (17, 5000)]):
        contents.add(key, Region(base + first, length, (length,), (1,), 1, "uint8"), weakly(array))
    array[4] = 1
    array[4096] = 1
    assert {change.key for change, _ in contents.look()} == {1, 2, 3}
