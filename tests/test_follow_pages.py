"""The pages road names the line, the thread and the library of every kind of write."""

from __future__ import annotations

from typing import Any

import pytest

from paging.running import marked, needs_pages, program

pytestmark = needs_pages

NUMPY = [
    "item", "whole_slice", "in_place", "fill", "copyto", "out", "sort", "view_of_a_view", "shuffle", "several_lines",
    "thread",
]  # fmt: skip
TORCH = ["torch_fill", "torch_copy", "torch_out", "torch_index", "optimizer_step", "gradient"]
OTHERS = ["bytes_view", "library_code", "file_read", "pipe_read", "socket_read"]
"""Python itself, and the kernel."""


@pytest.fixture(scope="module")
def writers() -> Any:
    return program("writers.py")


@pytest.mark.parametrize(
    ("case", "writer"),
    [(c, "numpy") for c in NUMPY] + [(c, "torch") for c in TORCH] + [(c, "unknown") for c in OTHERS],
)
def test_a_write_is_one_event_on_its_line(writers: Any, case: str, writer: str) -> None:
    (write,) = writers[case]
    assert (write["file"], write["line"]) == ("writers.py", marked("writers.py", case))
    assert (write["exact"], write["by"], write["key"]) == (True, "pages", 1)
    assert write["writer"] == writer


def test_every_kind_of_writer_was_tried(writers: Any) -> None:
    assert set(writers) == {*NUMPY, *TORCH, *OTHERS}


def test_the_first_byte_is_told(writers: Any) -> None:
    assert writers["item"][0]["first"] == 5000 * 4
    assert writers["bytes_view"][0]["first"] == 4000 * 4


def test_a_write_in_a_thread_is_told_of_that_thread(writers: Any) -> None:
    assert writers["item"][0]["thread"] == "MainThread"
    (write,) = writers["thread"]
    assert write["function"] == "work"
    assert write["thread"] != "MainThread"


def test_first_writes_to_memory_nobody_has_touched_are_seen() -> None:
    told = program("untouched.py")
    assert told["total"] == 0
    for name in ("fresh", "read_first"):
        (write,) = told[name]
        assert write["file"] == "untouched.py"
        assert write["exact"]


@pytest.mark.parametrize("part", ["whole", "last_quarter"])
def test_native_helpers_write_on_the_line_of_the_call(workers: Any, part: str) -> None:
    expected = ("workers.py", marked("workers.py", "spread"), "MainThread", "torch", True)
    told = [[(w["file"], w["line"], w["thread"], w["writer"], w["exact"]) for w in turn] for turn in workers[part]]
    assert len(told) == 150
    assert all(turn and set(turn) == {expected} for turn in told)
    assert workers["intact"]


@pytest.fixture(scope="module")
def workers() -> Any:
    return program("workers.py")


def test_six_threads_writing_all_the_time_are_each_blamed_for_their_own() -> None:
    seen = program("stress.py", "20000")
    assert seen.pop("intact")
    assert seen.pop("why") is None
    assert seen.pop("turns") > 10
    assert seen["right"] > 100
    assert set(seen) == {"exact", "right"}
    assert seen["exact"] == seen["right"]
