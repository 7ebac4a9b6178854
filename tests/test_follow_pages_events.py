"""What makes an event on the pages road and what makes none, and that nothing of it disturbs the program."""

from __future__ import annotations

import os
from typing import Any

from paging.running import marked, needs_pages, program

pytestmark = needs_pages

PAGE = os.sysconf("SC_PAGESIZE")


def told(story: str) -> Any:
    return program("events.py", story)


def test_lines_in_a_row_are_all_seen_when_looked_at_after_each() -> None:
    first = marked("events.py", "burst")
    assert told("lines_in_a_row") == list(range(first, first + 5)) * 4


def test_one_write_over_two_thousand_pages_is_one_event() -> None:
    assert len(told("one_write_is_one_event")) == 1


def test_memory_stays_open_after_a_write_until_it_is_collected() -> None:
    found = told("until_collected")
    assert len(found["writes"]) == 1
    assert found["writes"][0]["first"] == 2 * PAGE
    assert found["total"] == 2
    assert found["again"] == 0


def test_two_watches_of_the_same_memory_each_get_their_event() -> None:
    assert told("overlapping") == {
        "both": [1, 2], "only the first": [1], "only the second": [2], "the second still": [2],
    }  # fmt: skip


def test_pieces_that_share_a_page_with_strangers_are_left_to_lines() -> None:
    found = told("edges_are_left")
    assert found["whole"] == [PAGE // 2, 3 * PAGE]
    assert [start for start, _ in found["pieces"]] == [0, PAGE // 2 + 3 * PAGE]
    assert found["writes"] == 0


def test_memory_without_a_page_of_its_own_starts_nothing() -> None:
    assert told("small_memory") == {"same": True, "why": None}


def test_a_file_in_memory_is_refused_alone() -> None:
    assert told("file_memory") == {"whole": None, "pieces": 1, "why": None, "writes": 0}


def test_a_line_that_writes_for_ever_is_told_twenty_times_then_counted() -> None:
    found = told("many_of_one_line")
    assert found["told"] == found["limit"] == 20
    assert found["counted"] >= 10
    assert set(found["another_line"]) == {marked("events.py", "another_line")}


def test_rearming_splits_what_would_be_one_interval() -> None:
    assert told("rearmed") == 2


def test_eight_bytes_change_with_an_event_and_not_without() -> None:
    assert told("the_view") == {"changed": True, "bytes": 8, "quiet": True}


def test_whoever_gets_the_memory_next_is_not_blamed() -> None:
    assert told("after_the_end_of_its_memory")["keys"] == list(range(50))


def test_watches_end_and_begin_inside_other_calls() -> None:
    assert told("from_a_call_back_in_the_middle") == [1]


def test_many_threads_may_watch_at_once() -> None:
    assert told("watched_by_many_threads") == 6 * 20


def test_what_was_not_collected_can_be_after_the_end() -> None:
    assert told("closed_with_writes_left") == {"left": [True], "again": 1}


def test_system_calls_give_the_same_result_watched_or_not() -> None:
    found = program("system_calls.py")
    for case in ("urandom", "wait for all"):
        got, wanted, writes = found[case]
        assert got == wanted, case
        (write,) = writes
        assert (write["exact"], write["line"]) == (False, None)
