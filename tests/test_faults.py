"""A bug of ours never reaches the user: it is caught, counted and told once, as TWG901."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import allow, guard
from tensorwatch_guard import reporting as reporting_room
from tensorwatch_guard.memory import Memory
from tensorwatch_guard.probes import happen
from tensorwatch_guard.report.model import Report
from tensorwatch_guard.running import RUNNING
from tensorwatch_guard.session import Session
from tensorwatch_guard.steps import Steps


class BugError(Exception):
    """What nobody thought of."""


def broken(*_: Any, **__: Any) -> Any:
    raise BugError("it breaks")


def _train() -> list[float]:
    w = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.5)
    seen = []
    for _ in range(3):
        w.detach().numpy()
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
        seen.append(w.sum().item())
    return seen


def _refused() -> str:
    try:
        torch.ones(3).item()
    except RuntimeError as error:
        return str(error)
    return ""


# name: (owner, what is broken in it, the user's call)
BUGS: dict[str, tuple[Any, str, Callable[[], Any]]] = {
    "counting a read": (Session, "count_read", lambda: torch.ones(1).item()),
    "telling a read": (Session, "emit", lambda: torch.ones(2).tolist()),
    "opening a happening": (Session, "begin", lambda: torch.ones(2).tolist()),
    "finding the place": (Session, "trail", lambda: torch.ones(2).tolist()),
    "a look beside a read": (happen, "after_call", lambda: (np.asarray(x := torch.ones(2)), x.tolist())[1]),
    "an alias on the short way": (Memory, "born", lambda: torch.ones(2).numpy().sum()),
    "an alias on the long way": (Memory, "shared", lambda: np.asarray(torch.ones(2)).sum()),
    "a refusal": (Session, "emit", _refused),
    "a look at all memory": (Memory, "torch_boundary", _train),
    "a backward": (Memory, "before_backward", _train),
    "a step": (Steps, "stepped", _train),
    "the last look": (Memory, "boundary", lambda: torch.ones(2).numpy().sum()),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_told_and_the_user_gets_what_he_gets_without_us(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, attribute, call = BUGS[name]
    wanted = call()
    monkeypatch.setattr(owner, attribute, broken)
    with guard(report=False) as g:
        assert call() == wanted
    notices = [notice for notice in g.report.notices if notice.rule == "TWG901"]
    assert notices
    assert all("BugError: it breaks" in notice.text and notice.count >= 1 for notice in notices)
    assert not g.report.run.aborted
    assert capsys.readouterr().err == ""


def test_an_allowance_that_is_over_changes_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "born", broken)
    with guard(report=False) as g:
        with allow("alias", reason="not for long"):
            torch.ones(2).numpy()
        assert g.report.notices == ()
        torch.ones(2).numpy()
    assert [notice.rule for notice in g.report.notices] == ["TWG901"]


def test_a_bug_is_told_once_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "count_read", broken)
    one = torch.ones(1)
    with guard(report=False) as g:
        for _ in range(50):
            one.item()
    (notice,) = g.report.notices
    assert (notice.rule, notice.count) == ("TWG901", 50)
    assert "Tensor.item" in notice.text


def test_after_a_bug_the_next_guard_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    one = torch.ones(1)
    with monkeypatch.context() as patch, guard(report=False) as g:
        patch.setattr(Session, "emit", broken)
        one.tolist()
    with guard(report=False) as later:
        one.tolist()
    assert len(g.report.notices) == 1
    assert later.report.notices == ()
    assert [found.op for found in later.report.findings] == ["Tensor.tolist"]


def test_the_users_exception_passes_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "boundary", broken)
    with pytest.raises(KeyError, match="mine") as caught, guard(report=False) as g:
        torch.ones(2).numpy()
        raise KeyError("mine")
    assert caught.value.__context__ is None
    assert g.report.run.aborted


def test_a_report_that_cannot_be_made_is_an_empty_one_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting_room, "findings", broken)
    with guard(report=False) as g:
        torch.ones(1).item()
        g.step()
    assert g.report.findings == ()
    (notice,) = g.report.notices
    assert (notice.rule, notice.text) == ("TWG901", "report: BugError: it breaks")
    assert g.report.run.steps == 1
    assert not RUNNING.in_place


def test_a_report_that_cannot_be_shown_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Report, "text", broken)
    monkeypatch.setattr(Report, "__str__", broken)
    with guard(report=io.StringIO()) as g:
        torch.ones(1).item()
    told = capsys.readouterr().err
    assert "the report could not be shown" in told
    assert "BugError('it breaks')" in told
    assert [found.op for found in g.report.findings] == ["Tensor.item"]


def test_a_stream_that_is_closed_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    stream.close()
    with guard(report=stream):
        torch.ones(1).item()
    assert "could not be shown" in capsys.readouterr().err


def test_what_fails_at_the_entry_leaves_nothing_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.Tensor.item
    with monkeypatch.context() as patch:
        patch.setattr(type(RUNNING._optimizers), "start", broken)
        g = guard(report=False)
        with pytest.raises(BugError):
            g.start()
        assert not g.is_open
        assert not RUNNING.in_place
        assert torch.Tensor.item is before
    with guard(report=False) as later:
        torch.ones(1).item()
    assert [found.count for found in later.report.reads] == [1]
    assert sys.gettrace() is None or "tensorwatch" not in type(sys.gettrace()).__module__
