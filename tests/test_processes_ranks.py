"""Ranks of a distributed run, for real: torchrun with two of them on the CPU, and two without a launcher."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from process_runs import FOLDER, SOURCE, launch, line_of
from tensorwatch_guard import Report

PROGRAM = str(FOLDER / "ranks.py")


def torchrun(mode: str, report: Path) -> subprocess.CompletedProcess[str]:
    options = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    switches = {"TENSORWATCH_GUARD": "1", "TENSORWATCH_GUARD_REPORT": str(report)}
    return launch([sys.executable, *options, PROGRAM, mode], **switches)


def only(report: Report, mark: str) -> Any:
    line = line_of("ranks.py", mark)  # ``with model.join():`` spans it, and reads, too
    (finding,) = (one for one in report.reads if one.site is not None and one.site.line == line)
    return finding


def rows(report: Report) -> list[tuple[int, str, int, bool]]:
    return [(row["rank"], row["role"], row["steps"], row["aborted"]) for row in report.run.extra["processes"]]


def test_torchrun_gives_one_report_of_all_ranks(tmp_path: Path) -> None:
    ended = torchrun("even", tmp_path / "report.json")
    assert ended.returncode == 0, ended.stderr
    report = Report.load(tmp_path / "report.json")
    assert rows(report) == [(0, "main", 4, False), (1, "main", 4, False)]
    assert only(report, "on every rank").count == 8
    assert only(report, "on rank 1").details["ranks"]["only"] == [1]
    assert ended.stderr.count("tensorwatch-guard:") == 1
    assert os.listdir(tmp_path) == ["report.json"]


def test_each_rank_has_its_own_file_where_the_name_has_its_number(tmp_path: Path) -> None:
    ended = torchrun("uneven", tmp_path / "report-%r.json")
    assert ended.returncode == 0, ended.stderr
    assert sorted(os.listdir(tmp_path)) == ["report-0.json", "report-1.json", "report-all.json"]
    report = Report.load(tmp_path / "report-all.json")
    assert only(report, "on every rank").details["ranks"]["each"] == [[0, 4, 0.0], [1, 6, 0.0]]
    assert Report.load(tmp_path / "report-1.json").run.rank == 1


def test_a_rank_that_raises_and_its_sibling_leave_their_parts(tmp_path: Path) -> None:
    ended = torchrun("raise", tmp_path / "report.json")
    assert ended.returncode == 1
    report = Report.load(tmp_path / "report.json")
    assert {row[0] for row in rows(report)} == {0, 1}
    assert only(report, "on rank 1").count == 3
    assert report.run.aborted
    assert os.listdir(tmp_path) == ["report.json"]


def test_sharded_parameters(tmp_path: Path) -> None:
    ended = torchrun("fsdp", tmp_path / "report.json")
    assert ended.returncode == 0, ended.stderr
    report = Report.load(tmp_path / "report.json")
    assert only(report, "on every rank").count == 8
    assert not [notice for notice in report.notices if notice.rule == "TWG901"]


def test_a_launcher_without_ranks_of_ours_writes_no_report(tmp_path: Path) -> None:
    options = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", "true"]
    switches = {"TENSORWATCH_GUARD": "1", "TENSORWATCH_GUARD_REPORT": str(tmp_path / "report.json")}
    ended = launch([sys.executable, *options], **switches)
    assert ended.returncode == 0, ended.stderr
    assert "tensorwatch" not in ended.stderr
    assert os.listdir(tmp_path) == []


def without_launcher(report: Path, **extra: str) -> list[str]:
    """What two ranks that nobody of ours has started wrote to stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("COV", "TENSORWATCH"))},
        "PYTHONPATH": str(SOURCE),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "TENSORWATCH_GUARD": "1",
        "TENSORWATCH_GUARD_REPORT": str(report),
        **extra,
    }
    started = [
        subprocess.Popen(
            [sys.executable, PROGRAM, "even"], env={**common, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    return [one.communicate(timeout=300)[1] for one in started]


def test_ranks_without_a_launcher_of_ours_meet(tmp_path: Path) -> None:
    first, second = without_launcher(tmp_path / "report.json")
    report = Report.load(tmp_path / "report.json")
    assert [row[0] for row in rows(report)] == [0, 1]
    assert only(report, "on every rank").count == 8
    assert first.count("tensorwatch-guard:") == 1
    assert "tensorwatch" not in second
    assert os.listdir(tmp_path) == ["report.json"]


def test_nobody_waits_for_a_rank_that_is_gone(tmp_path: Path) -> None:
    without_launcher(tmp_path / "report.json", END_OF_RANK_1="os._exit")
    report = Report.load(tmp_path / "report.json")
    assert only(report, "on every rank").count >= 4


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({"RANK": "3", "WORLD_SIZE": "8"}, 3),
        ({"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}, 2),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script: one process
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, 1),
        ({"RANK": "nonsense"}, None),
        ({}, None),
    ],
)
def test_ranks_are_read_as_launchers_say_them(
    variables: dict[str, str], rank: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorwatch_guard import ranks

    for pair in ranks.VARIABLES:
        for name in pair:
            monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.rank() == rank
