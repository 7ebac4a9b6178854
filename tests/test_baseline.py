"""Baselines: what is known passes, new and more fails, gone is named; matched by what it is, not by its line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tensorwatch_guard import ConfigError, GuardViolation, guard
from tensorwatch_guard.policy import baseline
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tensorwatch_guard import Report

TRAIN = """
def work(times=5, also=False):
    for _ in range(times):
        one.item()
        step()
    for _ in range(2 * also):
        other.tolist()
"""


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


@pytest.fixture
def work(tmp_path: Path) -> Any:
    """Makes the function ``work`` of a file; lines can be put above it."""

    def make(above: str = "", text: str = TRAIN, step: Callable[[], None] = lambda: None) -> Any:
        file = tmp_path / "train.py"
        file.write_text(above + text)
        names = {"one": torch.ones(1, device="cuda"), "other": torch.ones(2, device="cuda"), "step": step}
        exec(compile(file.read_text(), str(file), "exec"), names)
        return names["work"]

    return make


def report_of(work: Any, **options: Any) -> Report:
    with guard(report=False) as g:
        work(**options)
    return g.report


def test_what_is_known_passes(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    assert baseline.write(report_of(work()), path) == 1
    found = baseline.load(path).compare(report_of(work()))
    assert not found.failed
    assert (found.new, found.more, found.gone, found.same) == ((), (), (), 1)


def test_moved_lines_change_nothing(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    baseline.write(report_of(work()), path)
    found = baseline.load(path).compare(report_of(work(above="# a comment\n\nvalue = 1\n")))
    assert not found.failed
    assert not found.gone


def test_what_is_new_fails(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    baseline.write(report_of(work()), path)
    found = baseline.load(path).compare(report_of(work(), also=True))
    assert found.failed
    assert [finding.op for finding in found.new] == ["Tensor.tolist"]
    assert str(found).splitlines()[1].startswith("+ Tensor.tolist at ")


def test_what_became_more_fails(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    baseline.write(report_of(work()), path)
    found = baseline.load(path).compare(report_of(work(), times=6))
    assert [(known.count, finding.count) for known, finding in found.more] == [(5, 6)]


def test_what_became_less_or_is_gone_passes_and_is_named(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    baseline.write(report_of(work(), also=True), path)
    found = baseline.load(path).compare(report_of(work(), times=2))
    assert not found.failed
    assert [known.source for known in found.gone] == ["other.tolist()"]
    assert "- Tensor.tolist at " in str(found)


def test_a_longer_run_at_the_same_rate_is_no_increase(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"

    def run(times: int, steps: int) -> Report:
        with guard(report=False) as g:
            work(step=g.step)(times=steps)
            for _ in range(times - steps):
                work()(times=1)
        return g.report

    baseline.write(run(20, 20), path)
    assert not baseline.load(path).compare(run(60, 60)).failed
    assert baseline.load(path).compare(run(60, 30)).failed


def test_allowed_findings_are_not_part_of_it(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    text = TRAIN.replace("one.item()", "one.item()  # tensorwatch: allow[sync] metric")
    assert baseline.write(report_of(work(text=text)), path) == 0
    assert not baseline.load(path).compare(report_of(work(text=text))).failed


def test_notes_are_kept_but_fail_nothing(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"

    def run(times: int) -> Report:
        with guard(report=False) as g:
            look = work()
            for turn in range(100):
                if turn < times:
                    look()
                g.step()
        return g.report

    assert run(1).syncs[0].severity == "note"
    baseline.write(Empty, path)
    assert not baseline.load(path).compare(run(1)).failed
    assert baseline.write(run(1), path) == 1
    assert baseline.load(path).compare(run(50)).failed


with guard(report=False) as _nothing:
    pass
Empty = _nothing.report


def test_a_guard_takes_one(work: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "known.json")
    with guard(baseline=path, update_baseline=True, report=False):
        work()()
    with guard(baseline=path, report=False):
        work()()
    with pytest.raises(GuardViolation, match=r"new: known\.json does not know it"), guard(baseline=path, report=False):
        work()(also=True)
    with (
        pytest.raises(GuardViolation, match=r"more: 9 times, known\.json lets 5 times pass"),
        guard(baseline=path, report=False),
    ):
        work()(times=9)


def test_a_level_lets_known_ones_pass_and_stops_new_ones(work: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "known.json")
    with guard(sync="error", baseline=path, update_baseline=True, report=False):
        work()()
    with guard(sync="error", baseline=path, report=False) as g:
        work()()
        with pytest.raises(GuardViolation, match="stopped before it ran"):
            work()(times=0, also=True)
    assert g.violation is not None


def test_known_writes_pass_though_their_place_is_an_interval(tmp_path: Path) -> None:
    path = str(tmp_path / "known.json")

    def run(**options: Any) -> None:
        t = torch.zeros(4)
        with guard(mutation="error", baseline=path, report=False, **options):
            a = t.numpy()
            a[0] += 1
            (torch.ones(1, requires_grad=True) * 2).backward()

    run(update_baseline=True)
    run()


def test_the_report_names_what_is_gone(work: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "known.json")
    baseline.write(report_of(work(), also=True), path)
    with guard(baseline=path, report=False) as g:
        work()()
    assert [(one.rule, one.text.split(" at ")[0]) for one in g.report.notices] == [("TWG802", "gone: Tensor.tolist")]


def test_the_file_reads_well_as_a_diff(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    baseline.write(report_of(work(), also=True), path)
    text = path.read_text()
    rows = [line for line in text.splitlines() if '"id"' in line]
    assert len(rows) == 2
    assert rows == sorted(rows, key=lambda row: json.loads(row.rstrip(","))["source"])
    assert json.loads(text)["schema"] == "tensorwatch-guard-baseline/1"
    assert "seconds" not in text
    baseline.write(report_of(work(), also=True), path)
    assert path.read_text() == text


BAD = {
    "missing": (None, "there is no baseline"),
    "empty": ("", "cannot be read"),
    "no json": ("{", "cannot be read"),
    "binary": ("\x80\x81", "cannot be read"),
    "other schema": ('{"schema": "tensorwatch-guard-baseline/0", "findings": []}', "no baseline of this version"),
    "a report": ('{"schema": "tensorwatch-guard/1", "findings": []}', "no baseline of this version"),
    "a list": ("[]", "it has no schema"),
    "of tests": (f'{{"schema": "{baseline.SCHEMA}", "per": "test", "findings": []}}', "was made by pytest"),
    "broken row": (f'{{"schema": "{baseline.SCHEMA}", "per": "run", "findings": [{{"id": "1"}}]}}', "is broken"),
    "no rows": (f'{{"schema": "{baseline.SCHEMA}", "per": "run"}}', "is broken"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_one_clear_line_before_anything_runs(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    path = tmp_path / "known.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=message) as caught:
        guard(baseline=path)
    assert "\n" not in str(caught.value)
    assert "known.json" in str(caught.value)


def test_it_is_never_written_over_something_else(work: Any, tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    path.write_text('{"name": "mine"}')
    with pytest.raises(ConfigError, match="something else than a baseline"):
        baseline.write(report_of(work()), path)
    assert path.read_text() == '{"name": "mine"}'


def test_a_folder_that_is_not_there_is_told_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        guard(baseline=tmp_path / "none" / "known.json", update_baseline=True)
    with pytest.raises(ConfigError, match="name the file"):
        guard(update_baseline=True)


SCRIPT = """
import numpy as np, torch
a = np.zeros(4, dtype=np.float32)
def work():
    t = torch.from_numpy(a)
    a[0] += 1
    torch.equal(t, t)
    return t
kept = [work() for _ in range(TIMES)]
"""


def test_run_ends_with_2_for_new_and_more(tmp_path: Path) -> None:
    script, known = tmp_path / "train.py", tmp_path / "known.json"

    def run(times: int, *options: str) -> subprocess.CompletedProcess[str]:
        script.write_text(SCRIPT.replace("TIMES", str(times)))
        command = [sys.executable, "-m", "tensorwatch_guard", "run", "--writes", "check", "--baseline", str(known)]
        return subprocess.run(
            [*command, *options, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    missing = run(3)
    assert missing.returncode == 1
    assert "there is no baseline" in missing.stderr
    made = run(3, "--update-baseline")
    assert made.returncode == 0
    assert "1 finding that is let pass from now on" in made.stderr
    assert run(3).returncode == 0
    more = run(9)
    assert more.returncode == 2
    assert "more: " in more.stderr


@pytest.mark.parametrize("level", [None, "warn", "error"])
def test_more_writes_fail_whatever_the_level(tmp_path: Path, level: str | None) -> None:
    def run(times: int, **options: Any) -> None:
        with guard(report=False, baseline=tmp_path / "known.json", **options):
            array = torch.zeros(3).numpy()
            tensor = torch.from_numpy(array)
            for _ in range(times):
                array += 1
                tensor.sum().item()

    run(2, update_baseline=True)
    options = {} if level is None else {"mutation": level}
    run(2, **options)
    with pytest.raises(GuardViolation, match=r"40 times|more"):
        run(40, **options)
