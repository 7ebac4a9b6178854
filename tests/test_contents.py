"""Small shared memory is remembered as a copy: what counts as a change, and since when."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
import pytest

from sharing_regions import region_of, watch, weakly
from tensorwatch_guard.sharing.contents import Contents


@pytest.fixture(params=["asked", "promised"])
def hold(request: Any):
    return weakly if request.param == "asked" else weakref.ref


def test_nothing_written_is_no_change():
    array = np.arange(8.0)
    contents = Contents()
    assert watch(contents, 1, array)
    assert contents.look() == []
    assert contents.look() == []


def test_a_write_is_told_once_with_bytes_before_and_after(hold: Any):
    array = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    contents = Contents()
    contents.add(7, region_of(array), hold(array), stamp="made")
    array[2] = 9
    [(change, since)] = contents.look(stamp="seen")
    assert (change.key, change.first, change.last) == (7, 8, 12)
    assert change.before == np.float32(3).tobytes()
    assert change.after == np.float32(9).tobytes()
    assert since == "made"
    assert contents.look() == []


def test_the_range_spans_all_written_elements_and_ends_at_whole_ones():
    array = np.zeros(16, np.float64)
    contents = Contents()
    watch(contents, 1, array)
    array[3] = 1e-300  # only some of its bytes differ
    array[9] = 1.0
    [(change, _)] = contents.look()
    assert (change.first, change.last) == (24, 80)


def test_equal_bytes_written_are_no_change():
    array = np.arange(100)
    contents = Contents()
    watch(contents, 1, array)
    array[:] = np.arange(100)
    assert contents.look() == []


def test_a_write_that_was_undone_is_no_change():
    array = np.arange(100)
    contents = Contents()
    watch(contents, 1, array)
    array += 1
    array -= 1
    assert contents.look() == []


def test_a_region_rewritten_at_each_turn_is_told_at_each_turn(hold: Any):
    array = np.zeros(1024, np.float32)
    contents = Contents()
    contents.add(1, region_of(array), hold(array), stamp=0)
    for turn in range(1, 50):
        array += 1
        [(change, since)] = contents.look(stamp=turn)
        assert (change.first, change.last, since) == (0, 4096, turn - 1)


def test_a_change_gives_all_its_bytes():
    array = np.zeros(60_000, np.uint8)
    contents = Contents()
    watch(contents, 1, array)
    array[:] = 5
    [(change, _)] = contents.look()
    assert (change.first, change.last) == (0, 60_000)
    assert change.before == bytes(60_000)
    assert change.after == b"\5" * 60_000


def test_each_change_is_dated_from_its_own_last_comparison(hold: Any):
    first, second = np.zeros(4), np.zeros(4)
    contents = Contents()
    contents.add(1, region_of(first), hold(first), stamp="a")
    contents.look(stamp="b")
    contents.add(2, region_of(second), hold(second), stamp="c")
    first += 1
    second += 1
    assert {change.key: since for change, since in contents.look(stamp="d")} == {1: "b", 2: "c"}
    first += 1
    assert [since for _, since in contents.look(stamp="e")] == ["d"]
    assert contents.seen(1) == contents.seen(2) == "e"


def test_looking_at_some_keys_leaves_the_others_and_their_stamps():
    arrays = {key: np.zeros(1000) for key in range(3)}
    contents = Contents()
    for key, array in arrays.items():
        watch(contents, key, array, stamp="made")
        array[...] += 1
    assert [change.key for change, _ in contents.look([1], stamp="some")] == [1]
    assert contents.seen(0) == "made"
    assert sorted((change.key, since) for change, since in contents.look(stamp="all")) == [(0, "made"), (2, "made")]


def test_a_neighbours_write_in_the_gaps_is_no_change():
    matrix = np.zeros((6, 4), np.float32)
    column = matrix[:, 1]
    contents = Contents()
    watch(contents, 1, column)
    matrix[:, 2] = 5
    matrix[:, 0] = 5
    assert contents.look() == []
    matrix[3, 1] = 7
    [(change, _)] = contents.look()
    assert (change.first, change.last) == (3 * 16, 3 * 16 + 4)


LAYOUTS = {
    "every second row": lambda a: a[::2],
    "rows reversed": lambda a: a[::-1],
    "columns reversed with gaps": lambda a: a[:, ::-3],
    "transposed": lambda a: a.T,
    "block transposed and reversed": lambda a: a[1:5, 2:4].T[::-1],
    "one row": lambda a: a[2],
    "one element": lambda a: a[2:3, 3:4].reshape(()),
    "broadcast": lambda a: np.broadcast_to(a[0], (5, 8)),
    "windows": lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 2)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_sees_its_own_elements_and_no_others(layout: Any):
    matrix = np.arange(48, dtype=np.int16).reshape(6, 8)
    seen = LAYOUTS[layout](matrix)
    own = {int(value) for value in seen.ravel()}
    contents = Contents()
    watch(contents, 1, seen)
    for value in range(48):
        matrix.reshape(-1)[value] += 1000
        assert bool(contents.look()) is (value in own), value


def test_empty_memory_is_not_watched():
    contents = Contents()
    assert not watch(contents, 1, np.zeros(0))
    assert contents.look() == []


def test_a_key_used_again_means_the_new_region():
    old, new = np.zeros(3), np.ones(3)
    contents = Contents()
    watch(contents, 1, old)
    contents.look()
    watch(contents, 1, new)
    old += 1
    assert contents.look() == []
    new += 1
    assert len(contents.look()) == 1


def test_peek_sees_the_memory_at_hand_at_once(hold: Any):
    arrays = [np.zeros(4) for _ in range(50)]
    contents = Contents()
    for key, array in enumerate(arrays):
        contents.add(key, region_of(array), hold(array), stamp="made")
    contents.look(stamp="looked", whole=True)  # a look within the budget ends early on a busy machine
    arrays[37] += 1
    assert [(change.key, since) for change, since in contents.peek(37, stamp="peeked")] == [(37, "looked")]


def test_peek_right_after_the_memory_came_sees_it(hold: Any):
    array = np.zeros(4)
    contents = Contents()
    contents.add(1, region_of(array), hold(array))
    array += 1
    assert len(contents.peek(1)) == 1


def test_peeking_comes_round_to_all_small_memory(hold: Any):
    arrays = [np.zeros(4) for _ in range(50)]
    contents = Contents()
    for key, array in enumerate(arrays):
        contents.add(key, region_of(array), hold(array))
    contents.look()
    arrays[23] += 1
    found = [change.key for _ in range(60) for change, _ in contents.peek(None)]
    assert found == [23]


def test_many_regions_are_all_compared_by_turn_within_the_budget():
    now = [0]

    def clock():
        now[0] += 1000  # a clock that runs as it is asked: a look never has time for all
        return now[0]

    arrays = [np.zeros(600) for _ in range(2000)]
    contents = Contents(share=0.0, clock=clock)
    for key, array in enumerate(arrays):
        watch(contents, key, array, stamp=0)
        array[...] += 1
    found = {}
    for turn in range(1, 400):
        found.update({change.key: since for change, since in contents.look(stamp=turn)})
    assert sorted(found) == list(range(2000))
    assert set(found.values()) == {0}
    assert contents.missed()["looks_cut"] > 0


def test_a_whole_look_takes_the_time_it_needs():
    now = [0]

    def clock():
        now[0] += 10**9
        return now[0]

    arrays = [np.zeros(600) for _ in range(300)]
    contents = Contents(share=0.0, clock=clock)
    for key, array in enumerate(arrays):
        watch(contents, key, array)
        array[...] += 1
    assert len(contents.look(whole=True)) == 300


def test_two_threads_look_and_nothing_is_told_twice_or_lost():
    arrays = [np.zeros(8) for _ in range(20)]
    contents = Contents()
    for key, array in enumerate(arrays):
        watch(contents, key, array)
    told, start = [], threading.Barrier(4)

    def look():
        start.wait()
        for _ in range(200):
            told.extend(change.key for change, _ in contents.look())
            told.extend(change.key for change, _ in contents.peek(3))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for array in arrays:
        array[...] += 1
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == list(range(20))
