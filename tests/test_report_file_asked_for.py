"""A report file that was asked for: whether it can be written is known at the start; it is written on the way, too."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tensorwatch_guard import ConfigError, allow, guard
from tensorwatch_guard.report.model import Report
from tensorwatch_guard.running import RUNNING
from tensorwatch_guard.session import NEVER, REWRITE_NS, SESSION


def ops(file: Path) -> list[tuple[str, int]]:
    return [(found["op"], found["count"]) for found in json.loads(file.read_text())["findings"]]


@pytest.mark.parametrize("option", ["json", "report"])
def test_it_holds_what_the_report_holds(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    options: dict[str, Any] = {option: str(file)}
    with guard(**options) as g:
        torch.ones(1).item()
        assert not file.exists()
    assert Report.load(file).findings == g.report.findings
    assert capsys.readouterr().err == ""


def test_a_path_object_will_do(tmp_path: Path) -> None:
    with guard(json=tmp_path / "report.json", report=False):
        torch.ones(1).item()
    assert ops(tmp_path / "report.json") == [("Tensor.item", 1)]


def test_the_text_can_be_asked_for_as_a_file_or_a_stream(tmp_path: Path) -> None:
    stream = io.StringIO()
    with guard(report=str(tmp_path / "report.txt")) as g, guard(report=stream) as h:
        torch.ones(1).item()
    assert (tmp_path / "report.txt").read_text(encoding="utf-8") == f"{g.report}\n"
    assert stream.getvalue() == f"{h.report}\n"


def test_it_is_written_after_an_exception(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with pytest.raises(KeyError), guard(json=str(file), report=False):
        torch.ones(1).item()
        raise KeyError
    assert json.loads(file.read_text())["run"]["aborted"] is True
    assert ops(file) == [("Tensor.item", 1)]


def test_a_decorated_function_writes_all_its_calls(tmp_path: Path) -> None:
    file = tmp_path / "report.json"

    @guard(json=str(file), report=False)
    def step() -> None:
        torch.ones(1).item()

    for times in (1, 2):
        step()
        assert ops(file) == [("Tensor.item", times)]


@pytest.mark.parametrize("where", ["missing/report.json", "."])
@pytest.mark.parametrize("option", ["json", "report"])
def test_a_path_that_cannot_be_written_is_known_before_anything_is_watched(
    option: str, where: str, tmp_path: Path
) -> None:
    path = str(tmp_path / where)
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        guard(**{option: path})
    assert repr(path) in str(caught.value)
    assert not RUNNING.in_place
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_meanwhile_costs_the_file_and_not_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with guard(json=str(folder / "report.json"), follow_children=False) as g:
        torch.ones(1).item()
        folder.rmdir()
    told = capsys.readouterr().err
    assert "cannot be written" in told
    assert told.endswith(f"the report follows\n{g.report}\n")


# -- on the way ----------------------------------------------------------------------------------------------------------


def test_the_first_event_when_it_is_due_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.json"
    one = torch.ones(1)
    with guard(json=str(file), report=False):
        one.item()
        one.tolist()
        assert not file.exists()
        monkeypatch.setattr(SESSION, "due_ns", 0)
        one.tolist()
        assert [count for _, count in ops(file)] == [1, 1, 1]
        assert SESSION.due_ns > REWRITE_NS
        one.tolist()
        assert len(ops(file)) == 3
        assert "written while it ran" in str(Report.load(file))
    assert len(ops(file)) == 4
    assert "written while it ran" not in str(Report.load(file))


def test_reads_alone_are_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.json"
    one = torch.ones(1)
    with guard(json=str(file), report=False):
        monkeypatch.setattr(SESSION, "due_ns", 0)
        for _ in range(5000):
            one.item()
        assert ops(file)


@pytest.mark.parametrize("allowed", ["now", "before"])
def test_so_are_reads_where_an_allowance_is_or_was(
    allowed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.json"
    one = torch.ones(1)
    with guard(json=str(file), report=False):
        monkeypatch.setattr(SESSION, "due_ns", 0)
        with allow("sync", reason="a metric"):
            for _ in range(5000 if allowed == "now" else 0):
                one.item()
        for _ in range(5000 if allowed == "before" else 0):
            one.item()
        assert ops(file)


def test_steps_alone_are_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.json"
    w = torch.ones(1, requires_grad=True)
    w.grad = torch.ones(1)
    optimizer = torch.optim.SGD([w], lr=0.1)
    with guard(json=str(file), report=False):
        monkeypatch.setattr(SESSION, "due_ns", 0)
        optimizer.step()
        assert json.loads(file.read_text())["schema"] == "tensorwatch-guard/1"


def test_short_aliases_alone_are_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.json"
    x = torch.ones(4)
    with guard(json=str(file), report=False):
        monkeypatch.setattr(SESSION, "due_ns", 0)
        for _ in range(10):
            x.numpy()
        assert ops(file)


def test_every_guard_writes_its_own(tmp_path: Path) -> None:
    one = torch.ones(1)
    with guard(json=str(tmp_path / "outer.json"), report=False):
        one.item()
        with guard(json=str(tmp_path / "inner.json"), report=False):
            one.tolist()
            SESSION.tick(0)
            assert ops(tmp_path / "outer.json") == [("Tensor.item", 1), ("Tensor.tolist", 1)]
            assert ops(tmp_path / "inner.json") == [("Tensor.tolist", 1)]
        one.item()
        SESSION.tick(0)
        assert len(ops(tmp_path / "outer.json")) == 3
        assert len(ops(tmp_path / "inner.json")) == 1


def test_nothing_is_written_once_the_guard_is_left(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with guard(json=str(file), report=False):
        pass
    file.unlink()
    assert SESSION.due_ns == NEVER
    SESSION.tick(0)
    with guard(report=False):
        torch.ones(1).tolist()
        SESSION.tick(0)
    assert not file.exists()


def test_a_file_that_cannot_be_written_on_the_way_is_a_fault_and_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with guard(json=str(folder / "report.json"), report=False, follow_children=False) as g:
        torch.ones(1).item()
        folder.rmdir()
        SESSION.tick(0)
        folder.mkdir()
    (notice,) = g.report.notices
    assert notice.rule == "TWG901"
    assert notice.text.startswith("report file: ")
    assert ops(folder / "report.json") == [("Tensor.item", 1)]


@pytest.mark.parametrize("option", ["json", "report"])
def test_it_lies_where_it_was_asked_for(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {option: "report.json"}
    with guard(**options):
        torch.ones(1).item()
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert ops(tmp_path / "report.json") == [("Tensor.item", 1)]
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed")
def test_a_report_needs_no_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with guard(report=False) as g:
        torch.ones(1).item()
    assert [found.op for found in g.report.findings] == ["Tensor.item"]
    assert str(g.report)


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [Full(), None])
def test_a_report_that_cannot_be_shown_stops_nothing(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if stream is None:
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with guard() as g:
        tensor = torch.zeros(3)
        tensor.numpy()[0] = 1
        assert tensor.sum().item() == 1
    assert g.report.mutations


def test_stop_writes_what_was_asked_for_and_prints_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    g = guard(json=tmp_path / "report.json", report=stream).start()
    kept = (tensor := torch.zeros(2)).numpy()
    kept[0] = 1
    report = g.stop()
    assert tensor[0] == 1
    assert ops(tmp_path / "report.json") == [(found.op, found.count) for found in report.findings]
    assert stream.getvalue() == f"{report}\n"
    h = guard(baseline=tmp_path / "known.json", update_baseline=True).start()
    h.stop()
    assert (tmp_path / "known.json").exists()
    capsys.readouterr()
    guard().start().stop()
    assert capsys.readouterr().err == ""


def test_what_is_written_on_the_way_never_replaces_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, one = tmp_path / "report.json", torch.ones(1)
    begun, go = threading.Event(), threading.Event()

    def holds_up(_: object) -> bool:
        if threading.current_thread().name == "writes":
            begun.set()
            go.wait(60)
        return False

    def work() -> None:
        monkeypatch.setattr(SESSION, "due_ns", 0)
        one.tolist()

    with guard(json=file, report=False, ignore=holds_up):
        one.tolist()
        thread = threading.Thread(target=work, name="writes")
        thread.start()
        begun.wait(60)
        one.item()
    last = file.read_bytes()
    go.set()
    thread.join()
    assert file.read_bytes() == last
    assert "unfinished" not in json.loads(last)["run"]


def test_a_json_that_is_none_asks_for_no_second_file(tmp_path: Path) -> None:
    with guard(report=str(tmp_path / "report.json"), json=None):
        torch.ones(1).item()
    assert ops(tmp_path / "report.json") == [("Tensor.item", 1)]
