"""Shared or copied is decided by addresses; how many aliases are live, by who still holds both sides."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard
from tensorwatch_guard.running import RUNNING

Route = Callable[[Any], Any]


# -- shared or copied ----------------------------------------------------------------------------------------------------

TENSOR = {
    "numpy": (lambda t: t.numpy(), True),
    "numpy(force)": (lambda t: t.numpy(force=True), True),
    "detach().numpy()": (lambda t: t.detach().numpy(), True),
    "a view": (lambda t: t[1:].numpy(), True),
    "a transpose": (lambda t: t.view(2, 4).t().numpy(), True),
    "every other": (lambda t: t[::2].numpy(), True),
    "asarray": (np.asarray, True),
    "asarray of its type": (lambda t: np.asarray(t, dtype=np.float32), True),
    "asarray of another type": (lambda t: np.asarray(t, dtype=np.float64), False),
    "array(copy=False)": (lambda t: np.array(t, copy=None), True),
    "clone().numpy()": (lambda t: t.clone().numpy(), None),
    "double().numpy()": (lambda t: t.double().numpy(), None),
    "contiguous of a transpose": (lambda t: t.view(2, 4).t().contiguous().numpy(), None),
    "tolist": (lambda t: t.tolist(), False),
    "from_dlpack": (np.from_dlpack, True),
}
ARRAY = {
    "from_numpy": (torch.from_numpy, True),
    "from_numpy of a view": (lambda a: torch.from_numpy(a[2:]), True),
    "as_tensor": (torch.as_tensor, True),
    "as_tensor of another type": (lambda a: torch.as_tensor(a, dtype=torch.float64), False),
    "asarray": (torch.asarray, True),
    "asarray(copy)": (lambda a: torch.asarray(a, copy=True), False),
    "tensor": (torch.tensor, False),
    "Tensor": (torch.Tensor, True),
    "Tensor of doubles": (lambda a: torch.Tensor(a.astype(np.float64)), False),
    "from_numpy().clone()": (lambda a: torch.from_numpy(a).clone(), None),
    "frombuffer": (lambda a: torch.frombuffer(a, dtype=torch.float32), True),
    "from_dlpack": (torch.from_dlpack, True),
}


def _called_now(name: str, table: dict[str, tuple[Route, bool | None]], value: Any) -> Any:
    """Names of torch's are looked up when they are called: those in the table were bound before the guard."""
    route, _ = table[name]
    plain = {"from_numpy", "as_tensor", "asarray", "tensor", "Tensor", "from_dlpack"}
    return getattr(torch, name)(value) if table is ARRAY and name in plain else route(value)


def _shares(result: Any, start: int, nbytes: int) -> bool:
    if isinstance(result, torch.Tensor):
        return start <= result.data_ptr() < start + nbytes
    return isinstance(result, np.ndarray) and start <= result.__array_interface__["data"][0] < start + nbytes


@pytest.mark.parametrize("name", TENSOR)
def test_a_tensors_memory(name: str) -> None:
    t = torch.arange(8.0)
    with guard(report=False) as g:
        result = _called_now(name, TENSOR, t)
    shared = TENSOR[name][1]
    if shared is not None:  # the table knows NumPy and PyTorch
        assert _shares(result, t.data_ptr(), t.nbytes) is shared
        assert len(g.report.aliases) == int(shared)
    if shared:
        (found,) = g.report.aliases
        assert found.details["direction"] in {"tensor->array", "tensor->buffer"}
        assert found.details["dtype"] == "float32"
        assert found.details["live"] == 1
    if shared is None:  # memory of a temporary's: shared with nobody who is left
        assert [found.details["live"] for found in g.report.aliases] == [0]


@pytest.mark.parametrize("name", ARRAY)
def test_an_arrays_memory(name: str) -> None:
    a = np.arange(8, dtype=np.float32)
    with guard(report=False) as g:
        result = _called_now(name, ARRAY, a)
    shared = ARRAY[name][1]
    start = a.__array_interface__["data"][0]
    assert _shares(result, start, a.nbytes) is bool(shared)
    if shared is None:
        assert [found.details["live"] for found in g.report.aliases] == [0]
    else:
        assert len(g.report.aliases) == int(shared)
    if shared:
        (found,) = g.report.aliases
        assert found.details["direction"] in {"array->tensor", "buffer->tensor"}
        assert found.details["live"] == 1


def test_what_is_described_is_the_memory_handed_out() -> None:
    w = torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))
    with guard(report=False) as g:
        array = w.detach()[1:].numpy()
    (found,) = g.report.aliases
    assert (found.bytes, found.details["nbytes"], found.details["shape"]) == (64, 64, [2, 4])
    assert (found.details["dtype"], found.details["requires_grad"]) == ("float64", False)
    assert array.shape == (2, 4)


COPIES: dict[str, Callable[[], Any]] = {
    "an empty tensor": lambda: torch.empty(0).numpy(),
    "an empty array": lambda: torch.from_numpy(np.empty((0, 3))),
    "a list": lambda: torch.tensor([1.0, 2.0]),
    "a list as tensor": lambda: torch.as_tensor([1.0, 2.0]),
    "a number": lambda: torch.as_tensor(3.0),
    "a tensor": lambda: torch.as_tensor(torch.ones(2)),
    "a shape": lambda: torch.Tensor(2, 3),
}


@pytest.mark.parametrize("name", COPIES)
def test_what_shares_nothing_is_no_alias(name: str) -> None:
    with guard(report=False) as g:
        kept = COPIES[name]()
    assert g.report.aliases == ()
    del kept


# -- who is left ---------------------------------------------------------------------------------------------------------


class Holder:
    """Something that keeps things."""

    def __init__(self, *things: Any) -> None:
        self.things = things


def _tensor() -> Any:
    return torch.zeros(8)


def _cycle(thing: Any) -> Any:
    holder = Holder(thing)
    holder.things = (*holder.things, holder)
    return holder


# name: (what is kept of the tensor t and its array a, whether both sides can still be written)
KEPT: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "both": (lambda t, a: (t, a), True),
    "the tensor": (lambda t, a: t, False),
    "the array": (lambda t, a: a, False),
    "neither": (lambda t, a: None, False),
    "in containers": (lambda t, a: ([{"t": t}], {"a": (a,)}), True),
    "in objects": (lambda t, a: (Holder(t), Holder(a)), True),
    "in one cycle": (lambda t, a: _cycle((t, a)), True),
    "in a closure": (lambda t, a: (lambda: t, lambda: a), True),
    "a view of the array": (lambda t, a: (t, a[2:]), True),
    "a view of a view of the array": (lambda t, a: (t, a[1:][1:].T), True),
    "a view of the tensor": (lambda t, a: (t[2:], a), True),
    "the tensor detached": (lambda t, a: (t.detach(), a), True),
    "views of both": (lambda t, a: (t[:4], a[4:]), True),
    "a view of the array alone": (lambda t, a: a[2:], False),
    "a view of the tensor alone": (lambda t, a: t[2:], False),
    "copies": (lambda t, a: (t.clone(), a.copy()), False),
    "the tensor and a copy": (lambda t, a: (t, a.copy()), False),
    "a buffer of the array": (lambda t, a: (t, memoryview(a)), True),
    "a parameter of it": (lambda t, a: (torch.nn.Parameter(t), a), True),
    "a parameter alone": (lambda t, a: torch.nn.Parameter(t), False),
}


def _from_tensor() -> tuple[Any, Any]:
    t = _tensor()
    return t, t.numpy()


def _from_parameter() -> tuple[Any, Any]:
    w = torch.nn.Parameter(torch.zeros(8))
    return w.detach(), w.detach().numpy()


def _from_array() -> tuple[Any, Any]:
    a = np.zeros(8, dtype=np.float32)
    return torch.from_numpy(a), a


def _from_view() -> tuple[Any, Any]:
    a = np.zeros(16, dtype=np.float32)
    return torch.from_numpy(a[:8]), a


def _large_tensor() -> tuple[Any, Any]:
    t = torch.zeros(8, 4096)
    return t, np.asarray(t)


MADE = {
    "numpy": _from_tensor,
    "detach().numpy()": _from_parameter,
    "from_numpy": _from_array,
    "from_numpy of a view": _from_view,
    "large": _large_tensor,
}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("made", MADE)
def test_an_alias_is_live_while_both_sides_have_a_holder(made: str, kept: str) -> None:
    keep, live = KEPT[kept]
    with guard(report=False) as g:
        left = keep(*MADE[made]())
        before = g.report.aliases[0].details["live"]
    (found,) = g.report.aliases
    assert found.count == 1
    assert (before, found.details["live"]) == (int(live), int(live))
    del left


def test_aliases_of_one_line_are_counted_one_by_one() -> None:
    kept = []
    with guard(report=False) as g:
        for number in range(10):
            t = torch.zeros(4)
            a = t.numpy()
            if number % 2:
                kept.append((t, a))
        del t, a
    (found,) = g.report.aliases
    assert (found.count, found.details["live"]) == (10, 5)


def test_one_memory_handed_out_twice_is_two_aliases() -> None:
    t = torch.zeros(8)
    with guard(report=False) as g:
        one = t.numpy()
        two = t.numpy()
    assert [found.details["live"] for found in g.report.aliases] == [1, 1]
    with guard(report=False) as g:
        one = t.numpy()
        two = one
        del one
    assert [found.details["live"] for found in g.report.aliases] == [1]
    del two


def test_what_closed_before_the_end_is_live_in_a_report_under_way() -> None:
    with guard(report=False) as g:
        t = torch.zeros(8)
        a = t.numpy()
        early = g.report
        del a
    assert [found.details["live"] for found in early.aliases] == [1]
    assert [found.details["live"] for found in g.report.aliases] == [0]


def test_the_guard_keeps_nothing_alive() -> None:
    gone: list[str] = []

    class Told(np.ndarray):  # type: ignore[type-arg]
        def __del__(self) -> None:
            if self.base is None:
                gone.append("array")

    with guard(report=False):
        array = np.zeros(8, dtype=np.float32).view(Told).copy()
        torch.from_numpy(array)
        del array
        gc.collect()
        assert gone == ["array"]


@pytest.mark.parametrize("made", ["numpy", "from_numpy", "large"])
def test_thousands_of_short_aliases_leave_no_memory(made: str) -> None:
    make, times = MADE[made], 60 if made == "large" else 1500
    with guard(report=False) as g:
        for _ in range(50):
            make()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(times):
            make()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        memory = RUNNING.session.memory
        assert memory is not None
        assert len(memory.writes.ledger.pieces) <= 1
    assert after - before < 20_000
    (found,) = g.report.aliases
    assert (found.count, found.details["live"]) == (times + 50, 0)
