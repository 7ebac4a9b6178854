"""The parts of PyTorch that look at functions as objects: scripting, pickling, overriding, tracing, exporting."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.record import Record


def _scripted(values: torch.Tensor) -> torch.Tensor:
    total = values.sum().item()
    found = torch.nonzero(values > 0).to(torch.float32)
    if bool(values.max() > 2) and torch.equal(values, values):
        found = found + torch.tensor([1.0]) + torch.as_tensor(2.0)
    return torch.where(values > 0, values, values * 0)[: found.size(0)] + float(total)


class _Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 0.5))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if int(values.sum()) > 0:
            return values.cpu() * self.weight
        return values.to(torch.float32) - self.weight


def scripting(record: Record) -> None:
    """`jit.script` and `jit.trace` of functions and modules that call what a guard watches."""
    scripted = torch.jit.script(_scripted)
    record.note("graph", str(scripted.graph))
    record.note("scripted", scripted(torch.tensor([1.0, 3.0, -1.0])))
    gate = torch.jit.script(_Gate())
    record.note("module", [gate(torch.ones(3)), gate(-torch.ones(3))])
    record.note("code", gate.code)
    traced = torch.jit.trace(lambda x: torch.nonzero(x).to(torch.float64) * x.sum().item(), torch.ones(3))
    record.note("traced", [str(traced.graph), traced(torch.ones(3))])
    frozen = torch.jit.freeze(gate.eval())
    record.note("frozen", frozen(torch.ones(3)))

    def unscriptable(values: torch.Tensor) -> Any:
        return torch.from_numpy(values.numpy())

    with record.error("refused"):
        torch.jit.script(unscriptable)


def pickling(record: Record) -> None:
    """Functions and methods of PyTorch as values: pickled, copied, compared, hashed, partially applied."""
    functions: dict[str, Any] = {
        "from_numpy": torch.from_numpy,
        "as_tensor": torch.as_tensor,
        "item": torch.Tensor.item,
        "numpy": torch.Tensor.numpy,
        "cpu": torch.Tensor.cpu,
        "nonzero": torch.nonzero,
        "partial": functools.partial(torch.as_tensor, dtype=torch.float64),
        "bound": torch.ones(1).item,
        "bound to": torch.ones(1).to,
    }
    for name, function in functions.items():
        pickled = pickle.dumps(function)  # that of a bound method names its storage by address
        record.note(f"{name}: pickle", len(pickled) if "bound" in name else repr(pickled))
        again = pickle.loads(pickle.dumps(function))
        record.note(f"{name}: callable", callable(again))
        deep = copy.deepcopy(function)
        record.note(f"{name}: copies", [callable(deep), callable(copy.copy(function))])
        record.note(f"{name}: repr", repr(function))
        record.note(f"{name}: names", [getattr(function, n, None) for n in ("__name__", "__qualname__", "__module__")])
        record.note(f"{name}: doc", (getattr(function, "__doc__", None) or "")[:200])
        with record.error(f"{name}: no signature"):
            record.note(f"{name}: signature", str(inspect.signature(function)))
    handlers = {torch.Tensor.item: "item", torch.from_numpy: "from_numpy", torch.nonzero: "nonzero"}
    watched = (torch.Tensor.item, torch.from_numpy, torch.nonzero)
    record.note("handlers", [handlers.get(function) for function in watched])
    record.note("equal", [torch.Tensor.item == torch.Tensor.item, torch.from_numpy == torch.from_numpy])

    class Pipeline(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convert = torch.from_numpy

        def forward(self, values: Any) -> torch.Tensor:
            return self.convert(values)

    record.note("pipeline", copy.deepcopy(Pipeline())(np.ones(2)))


HANDLED: dict[Any, Callable[..., Any]] = {}


class Logged(torch.Tensor):
    """A subclass that counts what it is asked and answers some of it itself."""

    calls: list[str]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        if name not in ("__get__", "__set__"):
            Logged.calls.append(name)
        if func in HANDLED:
            return HANDLED[func](*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs or {})


class _Counting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(torch.overrides.resolve_name(func) or str(getattr(func, "__name__", "?")))
        return func(*args, **(kwargs or {}))


class _Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def _work() -> list[Any]:
    values = torch.arange(4.0)
    values.add_(1)
    back = torch.from_numpy(values.numpy())
    reads = [values.sum().item(), float(values[0]), bool(values[1] > 0), values.tolist(), torch.equal(values, back)]
    return [*reads, values.to(torch.float64), values.nonzero(), 3.0 in values, f"{values[0]:.1f}"]


def overriding(record: Record) -> None:
    """A subclass, a function mode and a dispatch mode of the user's own see the calls they see without a guard."""
    Logged.calls = []
    HANDLED[torch.Tensor.item] = lambda tensor: "handled"
    HANDLED[torch.nonzero] = lambda tensor: "handled"
    logged = torch.ones(3).as_subclass(Logged)
    record.note("own", [logged[0].item(), torch.nonzero(logged), float(logged[1]), logged.sum().tolist()])
    record.note("mixed", [type(torch.ones(3) + logged).__name__, type(logged.to(torch.float64)).__name__])
    record.note("array", logged.numpy())
    record.note("calls", Logged.calls)
    with _Counting() as counting:
        record.note("counted", _work())
    record.note("function names", counting.names)
    with _Dispatched() as dispatched:
        record.note("dispatched", _work())
    record.note("dispatch names", dispatched.names)
    with _Counting() as outer, _Counting() as inner, torch.device("meta"):
        torch.ones(2).abs()
    record.note("two modes", [outer.names, inner.names])
    with torch.device("cpu"):
        record.note("default device", torch.tensor([1.0]))
    for function in (torch.Tensor.item, torch.from_numpy, torch.nonzero, torch.Tensor.to, torch.as_tensor):
        record.note(
            "tables",
            [
                torch.overrides.resolve_name(function),
                torch.overrides.is_tensor_method_or_property(function),
                function in torch.overrides.get_ignored_functions(),
                function in torch.overrides.get_testing_overrides(),
            ],
        )


def tracing(record: Record) -> None:
    """fx, `make_fx`, export and fake tensors over code that calls what a guard watches."""
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    record.note("fx", torch.fx.symbolic_trace(model).code)
    record.note("fx methods", torch.fx.symbolic_trace(lambda x: x.to(torch.float64).cpu().sum()).code)
    made = make_fx(lambda x: torch.where(x > 0, x, -x).to(torch.float64).sum())(torch.ones(3))
    record.note("make_fx", made.code)
    with record.error("make_fx item"):
        make_fx(lambda x: x * x.sum().item())(torch.ones(3))
    with record.error("symbolic bool"):
        torch.fx.symbolic_trace(lambda x: x if x.sum() > 0 else -x)


def faking(record: Record) -> None:
    """Fake tensors: shapes without data, and the errors of those who ask for data."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        product = torch.empty(2, 3).to(torch.float64) @ torch.ones(3, 2, dtype=torch.float64)
        record.note("shape", [list(product.shape), str(product.dtype), str(product.device), type(product).__name__])
        for name, call in {
            "item": lambda: product.sum().item(),
            "bool": lambda: bool(product.sum() > 0),
            "nonzero": product.nonzero,
            "tolist": product.tolist,
            "numpy": product.numpy,
            "equal": lambda: torch.equal(product, product),
        }.items():
            with record.error(name):
                record.note(f"{name}: type", type(call()).__name__)


PROGRAMS = (scripting, pickling, overriding, tracing, faking)
