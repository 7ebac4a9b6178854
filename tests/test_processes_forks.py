"""A forked child starts with empty hands: no counts, no memory, no report and no lock of its parent's."""

from __future__ import annotations

from pathlib import Path

from process_runs import answer, line_of, run

FORKED = "forked process"


def test_counts_start_at_nothing() -> None:
    told = answer("forks.py", "empty_counts")
    assert told == {"parent_reads": [7, None], "child_reads": [1, {FORKED: 1}]}


def test_memory_that_the_parent_shares_is_not_looked_at() -> None:
    told = answer("forks.py", "memory_of_the_parent")
    assert (told["mutations"], told["parent"]) == (0, 0.0)
    assert told["counts"]["child_reads"] == [1, {FORKED: 1}]


def test_a_child_that_leaves_the_block_writes_no_report_and_prints_none(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    ended = run("forks.py", "leaves_the_block", path)
    assert ended.stderr == ""
    assert '"written": true' in ended.stdout
    assert '"child_reads": [2, {"main": 1, "forked process": 1}]' in ended.stdout
    assert list(tmp_path.iterdir()) == [path]


def test_each_guard_hears_of_the_children_made_under_it() -> None:
    outer, inner = answer("forks.py", "nested")
    assert outer["child_reads"] == [3, {FORKED: 3}]
    assert inner["child_reads"] == [1, {FORKED: 1}]


def test_a_guard_in_a_child_reports_there_and_the_parent_hears_of_it_too() -> None:
    outer, own = answer("forks.py", "guard_in_the_child")
    assert own["child_reads"] == [1, None]
    assert outer["child_reads"][0] == 1


def test_grandchildren_are_followed() -> None:
    assert answer("forks.py", "grandchildren") == {"child_reads": [1, {FORKED: 1}]}


def test_no_lock_is_held_across_a_fork() -> None:
    codes, reads, notices = answer("forks.py", "busy_locks")
    assert codes == [0] * 6
    assert reads == 6
    assert notices == []


def test_levels_and_limits_a_run_hold_for_children_and_stop_none_of_them() -> None:
    place = f"forks.py:{line_of('forks.py', 'read in the child')} in child_reads"
    error, one, two, log = answer("forks.py", "levels")
    assert error.endswith(place)
    assert one.endswith(place)
    assert (two, log) == ("fine", "fine")


def test_limits_a_run_count_all_lines_of_all_processes_and_a_warm_up_holds_for_children() -> None:
    assert answer("forks.py", "limits_together") == ["broken", "fine", "fine"]


def test_levels_and_limits_a_run_hold_for_ranks_that_a_guarded_process_has_started() -> None:
    assert answer("forks.py", "levels_of_ranks") == ["broken", "broken", "fine"]


def test_a_child_may_end_with_any_object() -> None:
    assert answer("forks.py", "odd_code") == [1, [["Tensor.item", 1]], 0]


def test_where_no_folder_can_be_made_the_guard_opens_all_the_same() -> None:
    assert answer("forks.py", "no_room") == ["TWG903"]


def test_an_allowance_holds_in_children_made_in_it() -> None:
    assert answer("forks.py", "allowed") == ["metrics"]


def test_children_made_while_the_guard_is_paused_are_not_followed() -> None:
    assert answer("forks.py", "paused") == {"child_reads": [1, {FORKED: 1}]}


def test_nothing_is_left_when_the_guard_is_left() -> None:
    assert answer("forks.py", "after_the_guard") == [True, True, True, {}]


def test_exact_mode_names_lines_in_the_child_and_goes_on_in_the_parent() -> None:
    told = answer("forks.py", "own_lines")
    child, parent = line_of("forks.py", "written in the child"), line_of("forks.py", "written in the parent")
    assert [child, True, {FORKED: 1}] in told
    assert [parent, True, None] in told
