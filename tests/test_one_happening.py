"""One happening is one finding, whatever runs inside it; what the user's own code does inside is a finding of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from tensorwatch_guard import guard
from tensorwatch_guard.simulate import simulated_accelerator

Calls = list[tuple[str, str, int]]


def seen(call: Callable[[], Any], **options: Any) -> Calls:
    with guard(report=False, **options) as g:
        call()
    return [(found.kind, found.op, found.count) for found in g.report.findings]


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "cpu":
        yield "cpu"
        return
    with simulated_accelerator("cuda"):
        yield "cuda"


@pytest.fixture
def x(device: str) -> torch.Tensor:
    return torch.arange(4.0, device=device) + 0.5


WAITS: dict[str, tuple[str, Callable[[torch.Tensor], Any]]] = {
    "print": ("Tensor.__repr__", lambda x: print(x, file=io.StringIO())),
    "str": ("Tensor.__repr__", str),
    "repr of a large one": ("Tensor.__repr__", lambda x: repr(x.expand(500, 4))),
    "f-string": ("Tensor.__format__", lambda x: f"{x}"),
    "f-string of a number": ("Tensor.__format__", lambda x: f"{x[0]:.2f}"),
    "in": ("Tensor.__contains__", lambda x: 2.5 in x),
    "tolist": ("Tensor.tolist", lambda x: x.tolist()),
    "float": ("Tensor.__float__", lambda x: float(x[0])),
    "if": ("Tensor.__bool__", lambda x: 1 if x[0] > 0 else 2),
    "range": ("Tensor.__index__", lambda x: range(x[0].long())),
    "allclose": ("torch.allclose", lambda x: torch.allclose(x, x)),
    "unique": ("torch.unique", lambda x: torch.unique(x)),  # noqa: PLW0108 - looked up when it is called
    "Tensor.unique": ("torch.unique", lambda x: x.unique()),
}


class Passes(TorchFunctionMode):
    """Hands each call on from a line of the user's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Plain(torch.Tensor):
    """A subclass as most are."""


class Own(torch.Tensor):
    """A subclass that hands each call on with arguments of its own."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("name", WAITS)
def test_a_read_is_one_finding(name: str, x: torch.Tensor, device: str) -> None:
    op, call = WAITS[name]
    assert seen(lambda: call(x)) == [("read" if device == "cpu" else "sync", op, 1)]


FUNCTIONS = ("allclose", "unique")  # PyTorch hands modes its own function, not ours: with ops they are told twice


@pytest.mark.parametrize(
    ("name", "ops"), [(name, ops) for name in WAITS for ops in (False, True) if not (ops and name in FUNCTIONS)]
)
def test_under_function_modes_it_is_one_finding(name: str, ops: bool, x: torch.Tensor, device: str) -> None:
    op, call = WAITS[name]

    def under_modes() -> None:
        with Passes(), Passes():
            call(x)

    assert seen(under_modes, ops=ops) == [("read" if device == "cpu" else "sync", op, 1)]


@pytest.mark.parametrize("kind", [Plain, Own])
@pytest.mark.parametrize("name", ["print", "in", "tolist", "float", "if", "allclose", "Tensor.unique"])
def test_of_a_subclass_it_is_one_finding(name: str, kind: type[torch.Tensor], x: torch.Tensor, device: str) -> None:
    op, call = WAITS[name]
    mine = x.as_subclass(kind)
    assert seen(lambda: call(mine)) == [("read" if device == "cpu" else "sync", op, 1)]


CONVERSIONS: dict[str, tuple[str, Callable[[torch.Tensor], Any]]] = {
    "numpy": ("Tensor.numpy", lambda x: x.numpy()),
    "asarray": ("Tensor.__array__", np.asarray),
    "asarray of a type": ("Tensor.__array__", lambda x: np.asarray(x, dtype=np.float32)),
    "ufunc": ("Tensor.__array__", lambda x: np.sin(np.asarray(x))),
    "frombuffer": ("torch.from_numpy", lambda x: torch.from_numpy(np.ones(3))),
}


@pytest.mark.parametrize("modes", [0, 2])
@pytest.mark.parametrize("name", CONVERSIONS)
def test_an_alias_is_one_finding(name: str, modes: int) -> None:
    op, call = CONVERSIONS[name]
    x = torch.ones(4)

    def run() -> None:
        if not modes:
            call(x)
            return
        with Passes(), Passes():
            call(x)

    assert seen(run) == [("alias", op, 1)]


class Two(torch.nn.Module):
    """Two layers and a buffer, 64 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        self.register_buffer("third", torch.ones(4))


@pytest.fixture
def accelerator() -> Iterator[None]:
    with simulated_accelerator("cuda"):
        yield


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("modes", [False, True])
@pytest.mark.parametrize("ops", [False, True])
def test_a_module_that_moves_is_one_copy_with_the_sum_of_bytes(modes: bool, ops: bool) -> None:
    model, mode = Two(), Passes()
    with guard(report=False, ops=ops) as g:
        if modes:
            with mode:
                model.to("cuda")
        else:
            model.to("cuda")
    (found,) = g.report.findings
    assert (found.kind, found.op, found.count, found.bytes) == ("transfer", "Module.to", 1, 64)
    assert found.details["tensors"] == 5
    assert found.details["direction"] == "h2d"


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("modes", [False, True])
def test_a_state_that_is_loaded_is_one_copy(modes: bool) -> None:
    model, state, mode = Two().to("cuda"), Two().state_dict(), Passes()

    def load() -> None:
        if modes:
            with mode:
                model.load_state_dict(state)
        else:
            model.load_state_dict(state)

    assert seen(load) == [("transfer", "Module.load_state_dict", 1)]


@pytest.mark.usefixtures("accelerator")
def test_a_module_that_is_there_already_is_no_copy() -> None:
    model = Two().to("cuda")
    assert seen(lambda: model.to("cuda")) == []
    assert seen(lambda: Two().to(torch.float64)) == []


def test_a_module_without_devices_is_no_copy() -> None:
    assert seen(lambda: Two().double().float().to("cpu")) == []


# -- what the user's own code does inside --------------------------------------------------------------------------------


def test_in_a_repr_of_the_users(x: torch.Tensor, device: str) -> None:
    class Meter:
        def __repr__(self) -> str:
            return f"{x[0].item()}"

    kind = "read" if device == "cpu" else "sync"
    assert seen(lambda: repr([Meter(), Meter()])) == [(kind, "Tensor.item", 2)]


def test_in_a_repr_of_a_subclass_of_the_users(x: torch.Tensor, device: str) -> None:
    total = x.sum()

    class Named(torch.Tensor):
        def __repr__(self, **_: Any) -> str:
            return f"{total.item()} {super().__repr__()}"

    mine = x.as_subclass(Named)
    kind = "read" if device == "cpu" else "sync"
    assert seen(lambda: repr(mine)) == [(kind, "Tensor.item", 1), (kind, "Tensor.__repr__", 1)]


@pytest.mark.usefixtures("accelerator")
def test_in_an_apply_of_the_users() -> None:
    one, far = torch.ones(1), torch.ones(1, device="cuda")

    class Watching(Two):
        def _apply(self, fn: Any, recurse: bool = True) -> Any:
            one.item()
            far.item()
            return super()._apply(fn, recurse)

    model = Watching()
    assert sorted(seen(lambda: model.to("cuda"))) == [
        ("read", "Tensor.item", 1), ("sync", "Tensor.item", 1), ("transfer", "Module.to", 1),
    ]  # fmt: skip


def test_in_a_torch_function_of_the_users(x: torch.Tensor, device: str) -> None:
    total = x.sum()

    class Counting(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            total.item()
            return super().__torch_function__(func, types, args, kwargs or {})

    mine = x.as_subclass(Counting)
    kind = "read" if device == "cpu" else "sync"
    assert seen(lambda: mine.tolist()) == [(kind, "Tensor.item", 1), (kind, "Tensor.tolist", 1)]  # noqa: PLW0108


@pytest.mark.parametrize("name", ["item", "numpy", "__float__"])
def test_a_watched_method_is_itself(name: str) -> None:
    """Programs ask in a ``__torch_function__`` which function it is, by ``is``; dictionaries made before ask by ``==``."""
    known = {getattr(torch.Tensor, name): name}
    asked: list[tuple[bool, str | None]] = []

    class Asking(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") == name:
                asked.append((func is getattr(torch.Tensor, name), known.get(func)))
            return super().__torch_function__(func, types, args, kwargs or {})

    with guard(report=False):
        getattr(torch.ones(1).as_subclass(Asking), name)()
    assert asked == [(True, name)]


def test_in_a_function_mode_of_the_users(x: torch.Tensor, device: str) -> None:
    total = x.sum()

    class Counting(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            total.tolist()
            return func(*args, **(kwargs or {}))

    def run() -> None:
        with Counting():
            total.item()

    kind = "read" if device == "cpu" else "sync"
    assert sorted(seen(run)) == [(kind, "Tensor.item", 1), (kind, "Tensor.tolist", 1)]


def test_in_a_dataset_and_a_collate_function_of_the_users() -> None:
    one = torch.ones(1)

    class Samples(torch.utils.data.Dataset[float]):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> float:
            return one.item()

    def collate(samples: list[float]) -> float:
        return one.tolist()[0] + sum(samples)

    loader = torch.utils.data.DataLoader(Samples(), batch_size=2, collate_fn=collate)
    with guard(report=False) as g:
        assert list(loader) == [3.0] * 3
    own = {(found.op, found.count) for found in g.report.reads if found.site and "loader" not in (found.site.source or "")}
    assert own == {("Tensor.item", 6), ("Tensor.tolist", 3)}


def test_in_a_backward_of_the_users() -> None:
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
            return value * 2

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            return grads[0] * grads[0].sum().item()

    w = torch.ones(2, requires_grad=True)
    assert seen(lambda: Scaled.apply(w).sum().backward()) == [("read", "Tensor.item", 1)]


def test_in_a_closure_of_the_optimizer() -> None:
    w = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)

    def closure() -> float:
        return w.detach().sum().item()

    assert seen(lambda: optimizer.step(closure)) == [("read", "Tensor.item", 1)]


def test_what_ended_with_an_exception_swallows_nothing_afterwards(x: torch.Tensor, device: str) -> None:
    class Fails:
        def __format__(self, how: str) -> str:
            raise KeyError

    with guard(report=False) as g:
        with pytest.raises(RuntimeError, match="Boolean value"):
            bool(x)
        with pytest.raises(KeyError):
            f"{x} {Fails()}"
        x[0].item()
    kind = "read" if device == "cpu" else "sync"
    assert [(found.kind, found.op) for found in g.report.findings] == [
        ("refusal", "Tensor.__bool__"), (kind, "Tensor.__format__"), (kind, "Tensor.item"),
    ]  # fmt: skip
