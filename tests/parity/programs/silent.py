"""What autograd's version counter sees and what it does not: the same errors, the same silence, the same counts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.record import Record


def _stale(write: Callable[[Any, torch.Tensor], Any]) -> torch.Tensor | None:
    source = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    inputs = torch.from_numpy(source)
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * inputs).sum()
    write(source, inputs)
    loss.backward()
    return weight.grad


WRITES: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "none": lambda a, t: None,
    "numpy": lambda a, t: a.__setitem__(slice(None), 100.0),
    "fill_": lambda a, t: t.fill_(100.0),
    "data": lambda a, t: t.data.fill_(100.0),
    "detached": lambda a, t: t.detach().fill_(100.0),
    "storage": lambda a, t: t.untyped_storage().fill_(0),
    "round trip": lambda a, t: torch.from_numpy(t.numpy()).fill_(100.0),
    "dlpack": lambda a, t: torch.from_dlpack(t).fill_(100.0),
    "out": lambda a, t: torch.add(t, 1, out=t),
    "setitem": lambda a, t: t.__setitem__(0, 5.0),
    "increment": lambda a, t: torch.autograd.graph.increment_version(t),
    "copyto": lambda a, t: np.copyto(a, 4.0),
}


def stale_writes(record: Record) -> None:
    """A write between forward and backward, by every road: PyTorch's own error, or the silent wrong gradient."""
    for name, write in WRITES.items():
        with record.error(f"{name}: error"):
            record.note(name, _stale(write))


def stale_weights(record: Record) -> None:
    """The weights of a later layer rewritten through NumPy before backward."""
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    for layer in (first, second):
        nn.init.ones_(layer.weight)
    for broken in (False, True):
        output = second(torch.tanh(first(torch.ones(1, 2)))).sum()
        if broken:
            second.weight.detach().numpy()[...] = 50.0
        first.zero_grad()
        output.backward()
        record.note("first.grad", first.weight.grad)


def step_between(record: Record) -> None:
    """An optimizer step between forward and backward: an error where PyTorch counts it, silence where it does not."""
    for kind in ({"foreach": False}, {"foreach": True}, {"fused": True}):
        for make in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad):
            first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            for layer in (first, second):
                nn.init.constant_(layer.weight, 1.0)
            optimizer = make([*first.parameters(), *second.parameters()], lr=1.0, **kind)  # type: ignore[arg-type]
            inputs = torch.ones(1, 2)
            one, two = second(first(inputs)).sum(), second(first(inputs)).sum()
            one.backward()
            optimizer.step()
            record.note("versions", [first.weight._version, second.weight._version])
            optimizer.zero_grad()
            with record.error(f"{make.__name__} {kind}"):
                two.backward()
            record.note("grad", first.weight.grad)


def foreach_versions(record: Record) -> None:
    """The counter after foreach functions, unscaling, fused steps and BatchNorm: exactly what stock PyTorch leaves."""
    tensors = [torch.ones(2), torch.ones(3), torch.ones(2)]
    for call in (
        lambda: torch._foreach_add_(tensors, 1.0),
        lambda: torch._foreach_mul_(tensors, tensors),
        lambda: torch._foreach_addcdiv_(tensors, tensors, tensors, value=0.5),
        lambda: torch._foreach_lerp_(tensors, tensors, 0.5),
        lambda: torch._foreach_zero_(tensors),
        lambda: torch._foreach_copy_(tensors, [t + 1 for t in tensors]),
        lambda: torch._foreach_norm(tensors),
        lambda: torch._foreach_sqrt_(tensors),
        lambda: torch._foreach_clamp_min_(tensors, 0.5),
    ):
        call()
        record.note("versions", [t._version for t in tensors])
    found, inverse = torch.zeros(1), torch.full((1,), 0.5)
    torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, inverse)
    record.note("unscaled", [t._version for t in tensors])
    norm = nn.BatchNorm1d(2)
    norm(torch.randn(4, 2))
    record.module("norm", norm)
    views = [tensors[0][:1], tensors[0].detach(), tensors[0].view(2), tensors[0].data]
    torch._foreach_add_([tensors[0]], 1.0)
    record.note("views", [v._version for v in views])


def in_place_errors(record: Record) -> None:
    """In-place operations that PyTorch refuses: the same text, raised at the same line."""
    leaf = torch.ones(2, requires_grad=True)
    with record.error("leaf"):
        leaf.add_(1)
    with record.error("leaf view"):
        leaf[0] = 5
    with record.error("expanded"):
        torch.ones(1).expand(3).add_(1)
    with record.error("overlap"):
        torch.add(torch.ones(3)[:2], 1, out=torch.ones(3)[1:].expand(2, 2))
    with record.error("no_grad view"):
        with torch.no_grad():
            view = leaf.view(2)
        view.mul_(2)
    with record.error("inference"):
        with torch.inference_mode():
            inside = torch.ones(2)
        inside.add_(1)
    with record.error("inference saved"):
        (leaf * inside).sum().backward()
    hidden = leaf * 1
    squared = hidden.exp()
    squared.add_(1)
    with record.error("exp result"):
        squared.sum().backward()
    unbound = (leaf * 2).unbind()
    with record.error("multi view"):
        unbound[0].mul_(2)


def inference(record: Record) -> None:
    """Inference tensors have no version; writes to ordinary tensors inside the mode count."""
    plain = torch.zeros(3)
    with torch.inference_mode():
        plain.add_(1)
        made = torch.ones(2)
        made.mul_(3)
        record.note("array", made.numpy())
        record.note("scalar", made.sum().item())
    record.note("plain", plain)
    record.note("made", made)
    with record.error("version"):
        record.note("made._version", made._version)


def through_data(record: Record) -> None:
    """``.data`` read, assigned and refused: values, versions, identity, errors, and what a mode and a subclass hear of it."""
    weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    loss = (weight * weight).sum() + weight.exp().sum()
    taken = weight.data
    weight.data.mul_(2)
    weight.data[0, 1:] = -1
    weight.data -= 0.5
    taken.add_(1)
    record.note("taken", [taken, taken._version, taken.is_leaf, taken.requires_grad, taken._is_view()])
    loss.backward()
    record.note("weight", [weight, weight._version])
    record.note("weight.grad", weight.grad)
    loss = weight.pow(2).sum()
    weight.data = torch.full((2, 3), 7.0)
    record.note("replaced", [weight, weight._version, weight.data_ptr() == weight.data.data_ptr()])
    loss.backward()
    record.note("weight.grad", weight.grad)
    plain = torch.zeros(3)
    plain.data = torch.ones(5, dtype=torch.float64)
    record.note("plain", [plain, plain.dtype])
    with record.error("no tensor"):
        plain.data = "text"  # type: ignore[assignment]
    with record.error("other layout"):
        plain.data = torch.eye(2).to_sparse()
    with record.error("deleted"):
        del plain.data
    with torch.inference_mode():
        record.note("inference", torch.ones(2).data)
    with record.error("vmapped"):
        torch.vmap(lambda x: x.data + x)(torch.ones(3, 2))
    with record.error("grad of"):
        torch.func.grad(lambda x: (x.data * x).sum())(torch.ones(3))
    record.note("traced", torch.jit.trace(lambda x: x.data * x, torch.ones(2))(torch.ones(2)))
    record.note("scripted", str(torch.jit.script(_scripted).graph))
    record.note("sparse", torch.eye(2).to_sparse().data.to_dense())
    swapped, other = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.ones(2))
    kept = swapped.data
    torch.utils.swap_tensors(swapped, other)
    record.note("swapped", [swapped, other, kept])


def _scripted(x: torch.Tensor) -> torch.Tensor:
    return x.data * 2


class _Told(torch.Tensor):
    heard: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.heard.append(f"{func.__name__} {getattr(getattr(func, '__self__', None), '__name__', '')}")
        if func.__name__ == "__set__":
            warnings.warn("set", stacklevel=2)
        return super().__torch_function__(func, types, args, kwargs or {})


class _Listening(TorchFunctionMode):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.heard.append(str(getattr(func, "__name__", func)))
        return func(*args, **(kwargs or {}))


def data_overridden(record: Record) -> None:
    """Subclasses and function modes hear of ``.data`` once, as without the guard."""
    told = torch.ones(3).as_subclass(_Told)
    _Told.heard.clear()
    told.data.add_(1)
    told.data = torch.zeros(3).as_subclass(_Told)
    record.note("subclass", [*_Told.heard, type(told.data).__name__])
    weight = nn.Parameter(torch.ones(2))
    with _Listening() as mode:
        weight.data.add_(1)
        weight.data = torch.zeros(2)
    record.note("mode", mode.heard)
    record.note("weight", weight)


PROGRAMS = (
    through_data, data_overridden, stale_writes, stale_weights, step_between, foreach_versions, in_place_errors, inference,
)  # fmt: skip
