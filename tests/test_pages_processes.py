"""The supervisor among the program's own processes, signals and descriptors."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from paging.running import marked, needs_pages, program
from tensorwatch_guard.sharing import detached
from tensorwatch_guard.sharing.pages import road


def told(story: str) -> Any:
    return program("processes.py", story)


def _ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _ends(process: int) -> bool:
    end = time.monotonic() + 20
    while not _ended(process) and time.monotonic() < end:
        time.sleep(0.002)
    return _ended(process)


@needs_pages
def test_neither_wait_nor_sigchld_meets_the_supervisor() -> None:
    assert told("no_child") == {"met": [], "writes": 1, "its parent is us": False}


@needs_pages
def test_a_forked_child_is_unwatched_and_correct_and_may_follow_for_itself() -> None:
    found = told("forked")
    assert found["child"] == [0, None, "a forked process is not watched", [0, 0], [3], 5]
    assert (found["untouched"], found["quiet"]) == (0, 0)
    (write,) = found["writes"]
    assert write["line"] == marked("processes.py", "forked")


@needs_pages
def test_a_child_of_multiprocessing_works_on_watched_memory() -> None:
    found = told("multiprocessing_fork")
    assert found["total"] == 2 * found["size"]
    assert (found["exitcode"], found["writes"]) == (0, 1)


@needs_pages
def test_a_killed_supervisor_ends_the_watch_and_nothing_else() -> None:
    assert told("killed") == {
        "left": [1], "why": "the supervisor has ended", "whole": None, "pieces": 1, "handlers": [0, 0],
    }  # fmt: skip


@needs_pages
def test_a_thread_that_waits_goes_on_when_the_supervisor_is_killed() -> None:
    assert told("killed_while_a_thread_waits") == {"done": True, "value": 1, "why": "the supervisor has ended"}


@needs_pages
def test_signals_are_the_programs_own_again_and_never_taken_from_it() -> None:
    assert told("signals_are_given_back") == {
        "mine": ["SIGUSR1", "RT5"], "writes": 1, "still": True, "same": True, "ours": [6, 7],
    }  # fmt: skip


@needs_pages
def test_a_signal_that_the_program_takes_later_stays_with_it() -> None:
    found = told("signals_taken_over")
    assert found["writes"] == [False, False]
    assert found["theirs"]


@needs_pages
def test_a_thread_that_takes_no_signals_is_left_alone() -> None:
    assert told("signals_blocked") == [[False, False], [True, True]]


@needs_pages
def test_a_program_without_standard_streams_keeps_them_free() -> None:
    assert told("without_standard_streams") == {"writes": [True], "free": [0, 1, 2]}


@needs_pages
def test_descriptors_the_program_opens_are_never_written_into_or_closed() -> None:
    found = told("descriptors_closed")
    assert (found["done"], found["written into"]) == (1, 0)
    assert "closed" in found["found"][1]


@needs_pages
def test_the_supervisor_holds_nothing_of_the_programs() -> None:
    assert told("inherits_nothing") == {"end": True, "pipes": [], "where": "/"}


@needs_pages
@pytest.mark.parametrize("story", ["ends_with_the_program", "ends_at_exit"])
def test_the_supervisor_ends_with_the_program(story: str) -> None:
    assert _ends(told(story))


@needs_pages
def test_nothing_is_started_before_it_is_needed() -> None:
    assert told("not_before_needed") == [None, 0, 8]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
@pytest.mark.parametrize("way", ["clone", "two processes"])
def test_a_detached_program_is_nobodys_child_and_inherits_what_it_is_given(way: str, tmp_path: Path) -> None:
    if way == "clone" and not detached._prepared_contexts_work():
        pytest.skip("not known to work on this machine")
    read, write = os.pipe()
    between = "import os, sys; '--detach' in sys.argv and os.fork() and os._exit(0); "
    code = f"{between}os.write({write}, b'%d' % os.getppid())"
    start = detached._by_clone if way == "clone" else detached._by_two_processes
    start([sys.executable, "-I", "-S", "-c", code], {}, [write])
    os.close(write)
    with open(read, "rb") as file:
        parent = file.read()
    assert parent
    assert int(parent) != os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="nowhere"):
        detached.start_detached(["/nowhere/python"], {}, [])


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_is_told_what_would_open_the_road() -> None:
    found = program("unprivileged.py")
    opened, why = found["road"]
    if found["everything"] or not found["permitted"]:
        pytest.skip("userfaultfd is open to everybody here, or to nobody")
    assert not opened
    assert why == "needs root, CAP_SYS_PTRACE, access to /dev/userfaultfd, or sysctl vm.unprivileged_userfaultfd=1"
    assert (found["watched"], found["pieces"], found["why"], found["supervisor"]) == (None, 1, why, None)
    assert found["sum"] == 1


def test_the_road_says_why_it_is_closed_or_that_it_is_open() -> None:
    opened, why = road()
    assert opened == (why == "open")
    assert why
