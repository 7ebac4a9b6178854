"""Writes are blamed on the user's line that made them, whatever made that line run and whatever it called."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from follow_children import child, marked

no_columns = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 knows no columns")


def situation(name: str) -> dict:
    return child("situations.py", name)


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="3.10 frees a deleted local at the next event: ``del o``"
)
def test_every_writing_line_is_blamed_and_no_other() -> None:
    told = child("marked_lines.py")
    assert (told["started"], told["why"], told["errors"]) == (True, None, [])
    blamed = Counter(write["line"] for write in told["writes"])
    assert set(blamed) == marked("marked_lines.py")
    assert len(told["writes"]) == 56
    assert [write for write in told["writes"] if not write["exact"]] == []
    assert {write["thread"] for write in told["writes"]} == {"MainThread", "other"}
    assert {write["file"] for write in told["writes"]} == {"marked_lines.py"}
    assert (told["running"], told["tracing"]) == (False, False)


@no_columns
def test_columns_are_known_from_the_second_time_on() -> None:
    first, second, third = situation("columns")["writes"]
    assert (first["columns"], first["first"], first["last"]) == (None, 6, 16)
    assert (second["columns"], second["first"]) == ([15, 19], 6)
    assert (third["columns"], third["first"]) == ([33, 37], 14)


@no_columns
def test_columns_in_a_loop_that_is_never_left() -> None:
    assert [write["columns"] for write in situation("columns_of_a_loop_that_goes_on")["writes"]] == [
        None, [8, 12], [18, 26], [8, 12], [18, 26],
    ]  # fmt: skip


def test_region_in_bytes_of_whole_elements_with_values_before_and_after() -> None:
    told = situation("region")
    assert told["pieces"] == [True, True]
    assert told["values"] == [[4, 12, "00" * 8, "0700000007000000"], [52, 56, "00" * 4, "05000000"]]


def test_a_line_that_writes_without_end_is_kept_twenty_times_and_counted() -> None:
    told = situation("many_writes_of_a_line")
    assert len(told["writes"]) == 20
    assert {write["line"] for write in told["writes"]} == {told["line"]}
    assert told["more"] == {"1 situations.py 0": 30}


@pytest.mark.parametrize("name", ["library_lines", "kernel_writes", "ends_and_begins_again"])
def test_line_of(name: str) -> None:
    told = situation(name)
    expected = told["expected"] if "expected" in told else [told["line"]]
    assert [write["line"] for write in told["writes"]] == expected
    assert all(write["exact"] for write in told["writes"])


def test_following_ends_with_the_last_owner() -> None:
    told = situation("owner_dies")
    assert [write["key"] for write in told["writes"]] == [1, 2]
    assert (told["both"], told["running"], told["tracing"]) == (True, False, False)


def test_memory_whose_owner_has_moved_is_not_told() -> None:
    told = situation("owner_has_moved")
    assert (told["writes"], told["again"], told["errors"]) == ([], False, [])


def test_one_follower_at_a_time() -> None:
    told = situation("a_second_follower")
    assert told["started"] == [True, False, True]
    assert "another follower" in told["why_not"]
    assert len(told["writes"]) == 1


def test_other_evidence_is_looked_at_before_anybody_is_blamed() -> None:
    told = situation("more_evidence")
    assert told["put"]
    assert told["when_log_changed"] == [0]
    assert told["asked"] == 2
    assert not told["running"]
    assert [write["key"] for write in told["writes"]] == [1]
