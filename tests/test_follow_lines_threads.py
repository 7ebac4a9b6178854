"""With several threads a line is called exact only when no other can have written."""

from __future__ import annotations

import sys

import pytest

from follow_children import child

REACHES_RUNNING_THREADS = sys.version_info >= (3, 11)


def situation(name: str) -> dict:
    return child("situations.py", name)


@pytest.mark.parametrize(
    ("threads", "writes", "interval", "cycles", "short"),
    [(4, 2000, 1e-4, 0, 0), (2, 2000, 5e-3, 0, 0), (4, 8000, 1e-4, 60, 3), (8, 6000, 1e-5, 60, 3)],
    ids=["four", "two", "on and off", "eight, on and off"],
)
def test_busy_threads(threads: int, writes: int, interval: float, cycles: int, short: int) -> None:
    told = child("busy_threads.py", threads, writes, interval, cycles, short)
    assert (told["started"], told["why"], told["errors"]) == (True, None, [])
    assert told["intact"]
    assert not told["tracing"]
    seen = told["seen"]
    assert sum(seen.values()) > 0
    assert "exact and wrong" not in seen
    if REACHES_RUNNING_THREADS:
        assert "not suspected" not in seen
        assert seen["exact"] > 0


@pytest.mark.skipif(not REACHES_RUNNING_THREADS, reason="threads that run already cannot be reached")
def test_a_thread_that_ran_before_is_followed() -> None:
    told = situation("thread_that_ran_before")
    assert told["untraced"] == []
    assert [(write["line"], write["thread"]) for write in told["writes"]] == [(told["line"], "earlier")]


@pytest.mark.skipif(REACHES_RUNNING_THREADS, reason="threads that run already are followed")
def test_a_thread_that_ran_before_makes_writes_inexact() -> None:
    told = situation("thread_that_ran_before")
    assert told["untraced"] == ["earlier"]
    assert [write["exact"] for write in told["writes"]] == [False]


def test_waiting_threads_are_no_suspects() -> None:
    told = situation("waiting_threads")
    assert [write["exact"] for write in told["writes"]] == [True, True]


def test_a_writer_without_a_line_of_the_users_is_never_exact() -> None:
    told = situation("writer_without_a_line_of_the_users")
    assert told["value"] == 7.0
    assert [write["exact"] for write in told["writes"]] == [False]


def test_the_last_piece_may_be_given_up_in_another_thread() -> None:
    told = situation("stopped_from_another_thread")
    assert len(told["writes"]) == 1
    assert (told["running"], told["tracing"], told["frame"]) == (False, False, True)


@pytest.mark.parametrize("allocator", ["default", "debug"])
def test_memory_may_be_unmapped_while_others_compare(allocator: str) -> None:
    environment = {} if allocator == "default" else {"PYTHONMALLOC": allocator}
    told = child("dying_owners.py", 4, 200, **environment)
    assert (told["errors"], told["why"], told["running"]) == ([], None, False)
    assert told["watched"] == 800
    if REACHES_RUNNING_THREADS:
        assert told["written"] == 1600
