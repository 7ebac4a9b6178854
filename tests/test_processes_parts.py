"""Part files: what a killed guard leaves, folders of reports, and places that cannot be written."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from process_runs import answer, launch, run
from tensorwatch_guard import Report, ReportError

TOOL = [sys.executable, "-m", "tensorwatch_guard"]


def test_parts_of_a_guard_that_was_killed_stay_and_can_be_read(tmp_path: Path) -> None:
    ended = run("killed.py", tmp_path / "report.json")
    assert ended.returncode == -signal.SIGKILL
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("report.json.parts-")
    shown = launch(TOOL, "report", folder, "-o", tmp_path / "merged.json")
    assert shown.returncode == 0, shown.stderr
    (read,) = Report.load(tmp_path / "merged.json").reads
    assert read.count == 1


def test_a_folder_with_a_broken_part_is_merged_without_it(tmp_path: Path) -> None:
    run("killed.py", tmp_path / "report.json")
    (folder,) = tmp_path.iterdir()
    (folder / "foreign.json").write_text('{"half": ', encoding="utf-8")
    shown = launch(TOOL, "report", folder, "-o", tmp_path / "merged.json")
    assert shown.returncode == 1
    assert "foreign.json" in shown.stderr
    assert len(Report.load(tmp_path / "merged.json").reads) == 1


def test_an_empty_folder_is_a_clear_error(tmp_path: Path) -> None:
    shown = launch(TOOL, "report", tmp_path)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert len(shown.stderr.splitlines()) == 1


def test_children_are_not_followed_where_no_folder_can_be_made_and_the_report_says_so() -> None:
    code, counts, notices = answer("forks.py", "homeless")
    assert (code, counts) == (0, {"parent_reads": [1, None]})
    assert len(notices) == 1
    assert notices[0].startswith("child processes are not followed: there is no directory")


def test_two_runs_into_one_folder_are_two_runs(tmp_path: Path) -> None:
    for _ in range(2):
        run("killed.py", tmp_path / "report.json")
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ReportError):
        Report.load(tmp_path / "report.json")
