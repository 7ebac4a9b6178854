"""``error`` raises at the first moment the guard knows: before a wait or a copy runs, after memory was shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import GuardViolation, guard
from tensorwatch_guard.simulate import simulated_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Values:
    """Things to wait for and to copy."""

    def __init__(self) -> None:
        self.x = torch.arange(4.0, device="cuda")
        self.one = self.x.sum()
        self.host = torch.ones(4)
        self.pinned = torch.ones(4).pin_memory()
        self.layer = torch.nn.Linear(2, 2)
        self.there = torch.nn.Linear(2, 2).cuda()


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


@pytest.fixture
def v() -> Values:
    return Values()


def _on_default_device(make: Callable[[], torch.Tensor]) -> torch.Tensor:
    with torch.device("cuda"):
        return make()


WAITS: dict[str, Callable[[Values], Any]] = {
    "item": lambda v: v.one.item(),
    "tolist": lambda v: v.x.tolist(),
    "if": lambda v: bool(v.one),
    "float": lambda v: float(v.one),
    "print": lambda v: repr(v.x),
    "f-string": lambda v: f"{v.one}",
    "nonzero": lambda v: v.x.nonzero(),
    "where": lambda v: torch.where(v.x > 1),
    "equal": lambda v: torch.equal(v.x, v.x + 1),
    "synchronize": lambda v: torch.cuda.synchronize(),
    "stream": lambda v: torch.cuda.current_stream().synchronize(),
}
COPIES: dict[str, tuple[str, Callable[[Values], Any]]] = {
    "cpu": ("d2h", lambda v: v.x.cpu()),
    "to(device)": ("h2d", lambda v: v.host.to("cuda")),
    "to(other)": ("h2d", lambda v: v.host.to(v.x)),
    "to(cpu)": ("d2h", lambda v: v.x.to("cpu", torch.float64)),
    "cuda()": ("h2d", lambda v: v.host.cuda()),
    "cuda(0)": ("h2d", lambda v: v.host.cuda(0)),
    "to(copy)": ("h2d", lambda v: v.host.to("cuda:0", copy=True)),
    "to(tensor=)": ("h2d", lambda v: v.host.to(tensor=v.x)),
    "type": ("h2d", lambda v: v.host.type("torch.cuda.FloatTensor")),
    "copy_": ("h2d", lambda v: v.x.copy_(v.host)),
    "copy_ back": ("d2h", lambda v: v.host.copy_(v.x)),
    "tensor": ("h2d", lambda v: torch.tensor([1.0], device="cuda")),
    "as_tensor": ("h2d", lambda v: torch.as_tensor(np.ones(2), device="cuda")),
    "asarray": ("d2h", lambda v: torch.asarray(v.x, device="cpu")),
    "new_tensor": ("h2d", lambda v: v.x.new_tensor([1.0])),
    "numpy(force)": ("d2h", lambda v: v.x.numpy(force=True)),
    "module": ("h2d", lambda v: v.layer.to("cuda")),
    "module.cuda": ("h2d", lambda v: v.layer.cuda()),
    "load_state_dict": ("h2d", lambda v: v.there.load_state_dict(v.layer.state_dict())),
    "default device": ("h2d", lambda v: _on_default_device(lambda: torch.tensor([1.0, 2.0]))),
    "pinned": ("h2d", lambda v: v.pinned.to("cuda", non_blocking=True)),
}
NEITHER: dict[str, Callable[[Values], Any]] = {
    "same device": lambda v: v.x.to("cuda"),
    "dtype": lambda v: v.host.to(torch.float64),
    "type of a dtype": lambda v: v.host.type(torch.float64),
    "module.to(dtype)": lambda v: v.there.to(torch.float64),
    "host data": lambda v: (torch.tensor([1.0]), torch.as_tensor(v.host), v.host.new_tensor([1.0])),
    "nothing": lambda v: torch.empty(0).cuda(),
    "meta": lambda v: torch.ones(2, device="meta").to("meta"),
    "shape": lambda v: torch.equal(v.x, v.x[:2]),
    "host": lambda v: v.host.sum().item(),
    "where of three": lambda v: torch.where(v.x > 1, v.x, 0.0),
    "arithmetic": lambda v: (v.x * 2).sum(),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_stopped_before_it_runs(name: str, v: Values) -> None:
    waited: list[int] = []
    torch.cuda._gpu_trace.register_callback_for_device_synchronization(lambda: waited.append(1))
    torch.cuda._gpu_trace.register_callback_for_stream_synchronization(lambda _: waited.append(1))
    with guard(sync="error", report=False), pytest.raises(GuardViolation) as caught:
        WAITS[name](v)
    assert not waited
    assert [finding.kind for finding in caught.value.findings] == ["sync"]
    assert "stopped before it ran" in str(caught.value)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_stopped_before_it_runs(name: str, v: Values) -> None:
    direction, call = COPIES[name]
    before = v.x.clone()
    with guard(transfer="error", report=False), pytest.raises(GuardViolation) as caught:
        call(v)
    finding = caught.value.findings[0]
    assert (finding.kind, finding.details["direction"], finding.count) == ("transfer", direction, 1)
    assert torch.equal(v.x, before)
    assert next(v.layer.parameters()).is_cpu


@pytest.mark.parametrize("name", COPIES)
def test_what_is_foreseen_is_what_happens(name: str, v: Values) -> None:
    _, call = COPIES[name]
    with guard(transfer="error", report=False), pytest.raises(GuardViolation) as caught:
        call(v)
    with guard(report=False) as g:
        call(v)
    seen, foreseen = g.report.transfers[0], caught.value.findings[0]
    for key in ("direction", "src", "dst", "pinned", "non_blocking"):
        assert seen.details[key] == foreseen.details[key], key
    assert seen.blocking == foreseen.blocking


@pytest.mark.parametrize("name", NEITHER)
def test_what_neither_waits_nor_copies_passes(name: str, v: Values) -> None:
    with guard("error", report=False) as g:
        NEITHER[name](v)
    assert g.violation is None


@pytest.mark.parametrize(("kind", "op"), [("h2d", "cpu"), ("d2h", "to(device)")])
def test_a_direction_overrules_transfer(kind: str, op: str, v: Values) -> None:
    with guard(transfer="off", report=False, **{kind: "error"}) as g:
        COPIES[op][1](v)
    assert g.violation is None
    with guard(transfer="error", report=False, **{COPIES[op][0]: "log"}) as g:
        COPIES[op][1](v)
    assert len(g.report.transfers) == 1


def test_implicit_only_lets_what_is_written_out_pass(v: Values) -> None:
    with guard(sync="error:implicit", report=False):
        v.one.item()
        v.x.tolist()
        with pytest.raises(GuardViolation):
            bool(v.one)


def test_a_call_that_pytorch_refuses_raises_pytorchs_own_exception(v: Values) -> None:
    with guard("error", report=False) as g:
        with pytest.raises(RuntimeError, match="ambiguous"):
            bool(v.x)
        with pytest.raises(TypeError, match=r"Tensor\.cpu"):
            v.x.numpy()
        with pytest.raises(RuntimeError):
            v.host.to("nonsense")
        with pytest.raises(TypeError):
            v.host.to(other=v.x)
    assert g.violation is None


def test_a_wait_inside_an_operation_is_raised_at_the_exit(v: Values) -> None:
    reached = []
    with pytest.raises(GuardViolation) as caught, guard(sync="error", report=False):
        v.x[v.x > 1]
        reached.append(1)
    assert reached
    assert caught.value.findings[0].op == "sync inside an operation"


def test_the_report_holds_what_was_stopped(v: Values) -> None:
    with guard(sync="error", report=False) as g, pytest.raises(GuardViolation) as caught:
        v.one.item()
    assert [(f.op, f.count) for f in g.report.syncs] == [("Tensor.item", 1)]
    assert caught.value.report is not None
    assert [f.id for f in caught.value.report.syncs] == [f.id for f in g.report.syncs]


def test_a_violation_that_left_the_block_holds_the_report_of_the_whole_block(v: Values) -> None:
    with pytest.raises(GuardViolation) as caught, guard(sync="error", report=False) as g:
        v.one.item()
    assert caught.value.report is g.report
    assert g.report.run.aborted
