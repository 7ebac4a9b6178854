"""The ops layer: what it alone sees, how it joins with watched calls, in which threads it is, what it leaves behind."""

from __future__ import annotations

import linecache
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from tensorwatch_guard import GuardViolation, guard, limit
from tensorwatch_guard.simulate import simulated_accelerator


@pytest.fixture(scope="module", autouse=True)
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


@pytest.fixture
def x() -> torch.Tensor:
    return torch.arange(8.0, device="cuda")


def seen(g: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(found.kind, found.op, found.via) for found in g.report.findings]


def test_a_mask_is_a_wait_of_its_own_by_its_overload(x: torch.Tensor) -> None:
    mask = x > 3
    with guard(ops=True, report=False) as g:
        x[mask]
    (found,) = g.report.findings
    assert (found.kind, found.op, found.via) == ("sync", "Tensor.__getitem__", ("aten.index.Tensor",))
    assert found.implicit
    assert found.blocking
    assert found.blocked_s > 0
    assert found.details["seen_by"] == ["ops", "trace"]
    assert found.site is not None
    assert found.site.source == "x[mask]"


def test_a_watched_call_is_confirmed_not_told_again(x: torch.Tensor) -> None:
    with guard(ops=True, report=False) as g:
        x.sum().item()
        x.cpu()
        x.tolist()
        torch.unique(x)
    assert [(found.op, found.via, found.count) for found in g.report.findings] == [
        ("Tensor.item", (), 1),
        ("Tensor.cpu", (), 1),
        ("Tensor.tolist", (), 1),
        ("torch.unique", (), 1),
    ]
    assert all(found.details["seen_by"] == ["calls", "trace", "ops"] for found in g.report.findings)


def test_a_list_of_indices_is_one_copy(x: torch.Tensor) -> None:
    with guard(ops=True, report=False) as g:
        x[[0, 1]]
    (found,) = g.report.findings
    assert (found.kind, found.op, found.details["direction"]) == ("transfer", "Tensor.__getitem__", "h2d")
    assert found.bytes == 16


def test_a_watched_call_with_nothing_to_tell_tells_what_was_inside(x: torch.Tensor) -> None:
    with guard(ops=True, report=False) as g:
        torch.where(x > 3, x, torch.tensor(1.0))
    assert seen(g) == [("transfer", "torch.where", ("aten.where.self",))]


def test_reads_of_host_tensors_inside_an_optimizer_are_none(x: torch.Tensor) -> None:
    weight = torch.nn.Parameter(x.clone())
    optimizer = torch.optim.Adam([weight], foreach=False)  # its step counts live on the host, and it reads them
    weight.grad = torch.ones_like(weight)
    with guard(ops=True, report=False) as g:
        optimizer.step()
    assert [found for found in g.report.findings if found.kind in ("sync", "transfer")] == []
    with guard(ops=True, report=False) as g:
        torch.ones(3)[torch.ones(3) > 0]
        torch.nonzero(torch.ones(3))
    assert [found.kind for found in g.report.findings] == ["read"]


def test_backward_is_told_at_the_users_backward(x: torch.Tensor) -> None:
    weight = torch.ones(3, requires_grad=True)
    loss = (weight.to("cuda") * 2).sum()
    with guard(ops=True, report=False) as g:
        loss.backward()
    (found,) = g.report.findings
    assert (found.kind, found.details["direction"], found.via) == ("transfer", "d2h", ("aten._to_copy.default",))
    assert found.site is not None
    assert found.site.source == "loss.backward()"
    assert found.details["backward"] == "ToCopyBackward0"


def test_the_forward_line_is_told_where_anomaly_mode_keeps_it() -> None:
    weight = torch.ones(3, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        loss = (weight.to("cuda") * 2).sum()
        with guard(ops=True, report=False) as g:
            loss.backward()
    (found,) = g.report.findings
    file, _, line = found.details["forward"].rpartition(":")
    assert file == __file__
    assert "weight.to(" in linecache.getline(file, int(line))


def test_threads_that_start_meanwhile_are_seen(x: torch.Tensor) -> None:
    mask = x > 3
    with guard(ops=True, report=False) as g:
        thread = threading.Thread(target=lambda: x[mask], name="started-meanwhile")
        thread.start()
        thread.join()
    (found,) = g.report.findings
    assert (found.op, found.threads) == ("Tensor.__getitem__", ("started-meanwhile",))


def test_an_error_level_stops_the_operation_before_it_runs(x: torch.Tensor) -> None:
    mask = x > 3
    with pytest.raises(GuardViolation), guard(ops=True, report=False, sync="error"):
        x[mask] = x[mask] + 1
    assert x.tolist() == list(range(8))


def test_a_limit_counts_operations(x: torch.Tensor) -> None:
    mask = x > 3
    runs = 0
    with pytest.raises(GuardViolation), guard(ops=True, report=False, sync=limit(2, per="run")):
        for _ in range(5):
            x[mask]
            runs += 1
    assert runs == 2


def test_a_paused_guard_hears_nothing(x: torch.Tensor) -> None:
    mask = x > 3
    with guard(ops=True, report=False) as g, g.paused():
        x[mask]
    assert seen(g) == []


class Other(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_nothing_is_left_behind() -> None:
    before = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]
    with guard(ops=True, report=False):
        assert len(_get_current_dispatch_mode_stack()) == 1
        with guard(ops=True, report=False):
            assert len(_get_current_dispatch_mode_stack()) == 1
        assert len(_get_current_dispatch_mode_stack()) == 1
    assert _get_current_dispatch_mode_stack() == []
    assert threading.Thread._bootstrap_inner is before  # type: ignore[attr-defined]


def test_modes_of_the_users_come_and_go_in_any_order() -> None:
    g = guard(ops=True, report=False)
    with Other() as other:
        g.start()
        assert _get_current_dispatch_mode_stack()[-1] is other
    assert len(_get_current_dispatch_mode_stack()) == 1
    with Other() as other:
        g.stop()
        assert _get_current_dispatch_mode_stack() == [other]
    assert _get_current_dispatch_mode_stack() == []


def test_a_guard_without_ops_is_no_mode() -> None:
    with guard(report=False) as g:
        assert _get_current_dispatch_mode_stack() == []
    assert "ops" not in g.report.run.layers


def test_the_report_names_the_layer_and_what_it_cannot_see() -> None:
    with guard(ops=True, report=False) as g:
        pass
    assert "ops" in g.report.run.layers
    assert any("threads that ran before" in spot for spot in g.report.blind_spots)


def test_a_guard_may_be_left_in_another_thread(x: torch.Tensor) -> None:
    mask = x > 3
    g = guard(ops=True, report=False)
    opened, finish, count = threading.Event(), threading.Event(), []

    def open_and_wait() -> None:
        g.start()
        opened.set()
        finish.wait(30)
        x[mask]
        count.append(len(_get_current_dispatch_mode_stack()))

    thread = threading.Thread(target=open_and_wait)
    thread.start()
    opened.wait(30)
    g.stop()
    finish.set()
    thread.join()
    assert seen(g) == []
    assert count == [1]  # it stays in that thread, and passes everything on


def test_a_forked_child_starts_without_it(x: torch.Tensor) -> None:
    with guard(ops=True, report=False, follow_children=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
        if pid == 0:
            os._exit(len(_get_current_dispatch_mode_stack()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_higher_order_operators_pass() -> None:
    with guard(ops=True, report=False):
        result = torch.utils.checkpoint.checkpoint(torch.sin, torch.ones(2, requires_grad=True), use_reentrant=False)
        result.sum().backward()
    assert result.shape == (2,)
