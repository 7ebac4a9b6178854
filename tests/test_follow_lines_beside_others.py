"""A follower steps aside for tracers, ends in forked children, and leaves the program's own behaviour as it is."""

from __future__ import annotations

import sys

import pytest

from follow_children import child

BY_TRACE_FUNCTION = sys.version_info < (3, 12)


def situation(name: str) -> dict:
    return child("situations.py", name)


def test_a_trace_function_that_is_there_is_left_alone() -> None:
    told = situation("trace_function_held")
    assert told["kept"]
    if BY_TRACE_FUNCTION:
        assert not told["started"]
        assert told["why"].startswith("trace function held by trace_function_held.")
        assert told["writes"] == []
    else:
        assert [write["exact"] for write in told["writes"]] == [True]


def test_coverage_goes_on_measuring() -> None:
    pytest.importorskip("coverage")
    told = situation("coverage_runs")
    assert told["counted"]
    assert told["kept"]
    if BY_TRACE_FUNCTION:
        assert told["why"] == "trace function held by CTracer (coverage)"
    else:
        assert [write["line"] for write in told["writes"]] == [told["line"]]


def test_a_debugger_that_comes_later_wins_and_no_write_is_exact_from_then_on() -> None:
    told = situation("debugger_comes_later")
    assert told["seen"] >= 2
    assert told["kept"]
    first, *later = told["writes"]
    assert first["exact"]
    assert later
    if BY_TRACE_FUNCTION:
        assert told["stolen"]
        assert [(write["exact"], write["line"]) for write in later] == [(False, None)]
    else:
        assert not told["stolen"]
        assert all(write["exact"] for write in later)


def test_a_debugger_meets_no_events_it_does_not_know() -> None:
    told = situation("debugger_after_columns")  # it would complain on stderr, which is to be empty
    assert [write["exact"] for write in told["writes"]] == [True, True]


def test_a_suspended_generator_lets_go_when_it_goes_on() -> None:
    told = situation("suspended_generator")
    assert told["followed"] is BY_TRACE_FUNCTION
    assert told["let_go"]
    assert told["own_frame"]
    assert len(told["writes"]) == 1


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="needs fork")
def test_a_forked_child_is_not_followed_unless_it_asks() -> None:
    told = situation("forked_child")
    assert told["answer"] == [1, 1, 1]
    assert told["running"]
    assert len(told["writes"]) == 1


def test_the_exception_of_a_signal_handler_reaches_the_program() -> None:
    assert situation("signal_handler_raises") == {"caught": "Noticed", "errors": [], "tracing": False}


def test_failures_of_its_own_end_following_and_nothing_else() -> None:
    told = situation("failing_evidence")
    assert (told["value"], told["errors"]) == (29.0, 20)
    assert (told["running"], told["tracing"], told["started"]) == (False, False, False)
    assert "gave up after 20 errors" in told["why"]


def test_memory_of_an_owner_that_cannot_be_asked_is_not_read() -> None:
    told = situation("failing_owner")
    assert (told["started"], told["writes"], told["errors"], told["calls"]) == (True, [], [], 2)


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python 3.10 keeps locals of traced frames for one more event"
)
def test_exceptions_lifetimes_and_recursion_are_the_same() -> None:
    told = situation("exceptions_and_locals")
    assert told["log"] == ["freed", "after del", ["traceback", 2], "recursion"]
    assert told["deep"]


def test_frames_are_not_kept() -> None:
    assert situation("frames_are_not_kept")["gone"]


@pytest.mark.parametrize("allocator", ["default", "debug"])
def test_garbage_collection_may_end_following_before_a_trace_function_is_called(allocator: str) -> None:
    environment = {} if allocator == "default" else {"PYTHONMALLOC": allocator}
    told = child("ends_in_collection.py", **environment)
    assert told == {"errors": [], "running": False, "tracing": False, "told": []}


def test_following_may_begin_anew_before_that_collection_is_over() -> None:
    told = child("ends_in_collection.py", "again")
    assert told == {"errors": [], "running": True, "tracing": False, "told": [2]}


def test_collections_that_ask_for_frames_do_not_wait_for_us() -> None:
    told = child("collections_all_the_time.py")
    assert told == {"errors": [], "why": None, "written": 64, "ended": True}
