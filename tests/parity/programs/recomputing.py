"""Graphs that are run again, unpacked, called functionally, or made of the user's own functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

if TYPE_CHECKING:
    from parity.record import Record


def checkpoints(record: Record) -> None:
    """Both kinds of checkpointing, with dropout (RNG is replayed), counted forwards and a nested one."""
    calls = {"block": 0}

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.dropout = nn.Linear(4, 4), nn.Dropout(0.5)

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            calls["block"] += 1
            result: torch.Tensor = self.dropout(torch.relu(self.linear(value)))
            return result

    for reentrant in (True, False):
        model = nn.Sequential(Block(), Block(), nn.Linear(4, 1))
        inputs = torch.randn(3, 4, requires_grad=True)
        middle = checkpoint(model[0], inputs, use_reentrant=reentrant)
        loss = model[2](checkpoint(model[1], middle, use_reentrant=reentrant)).sum()
        loss.backward()
        record.note("calls", calls["block"])
        record.note("inputs.grad", inputs.grad)
        record.module("model", model)
        record.note("sequential", checkpoint_sequential(model, 2, inputs, use_reentrant=reentrant).sum())
    nested = Block()
    outer = checkpoint(
        lambda value: checkpoint(nested, value, use_reentrant=False) * 2, torch.randn(2, 4), use_reentrant=False
    )
    outer.sum().backward()
    record.note("calls", calls["block"])
    record.module("nested", nested)


def checkpoint_differs(record: Record) -> None:
    """A recomputation that saves a tensor of another shape is stock PyTorch's error, and stays it."""
    turn = [0]

    def block(value: torch.Tensor) -> torch.Tensor:
        turn[0] += 1
        return value.sin() if turn[0] == 1 else value[:1].sin()

    loss = checkpoint(block, torch.ones(2, requires_grad=True), use_reentrant=False).sum()
    with record.error("differs"):
        loss.backward()


class _Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(value)
        ctx.scale = scale
        ctx.total = value.sum().item()
        return scale * value**3

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (value,) = ctx.saved_tensors
        return grads[0] * 3 * ctx.scale * value**2, None


class _InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(value)
        value.numpy()[:] += 1
        return value

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0]


def custom_functions(record: Record) -> None:
    """The user's own `autograd.Function`: saved tensors, an in-place one that writes through NumPy, gradcheck."""
    value = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    cubed = _Cube.apply(value, 0.5)  # type: ignore[no-untyped-call]
    cubed.sum().backward()
    record.note("grad", value.grad)
    record.note("total", cubed.grad_fn.total)
    leaf = torch.ones(2, requires_grad=True)
    moved = leaf * 2
    version = moved._version
    result = _InPlace.apply(moved)  # type: ignore[no-untyped-call]
    record.note("in place", [result is moved, version, moved._version])
    result.sum().backward()
    record.note("leaf.grad", leaf.grad)
    record.note("gradcheck", torch.autograd.gradcheck(lambda v: _Cube.apply(v, 2.0), (value,)))  # type: ignore[no-untyped-call]


def functional(record: Record) -> None:
    """`functional_call`, stacked modules, `autograd.grad` with a graph of its own, double backward, jacobians."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    weights = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    inputs = torch.randn(4, 3)
    loss = functional_call(model, weights, (inputs,)).pow(2).mean()
    grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    second = torch.autograd.grad(sum(grad.pow(2).sum() for grad in grads), weights["0.weight"])
    record.note("grads", grads)
    record.note("second", second)
    record.note("jacobian", torch.autograd.functional.jacobian(lambda x: x.pow(2).sum(1), inputs))
    record.note("hessian", torch.autograd.functional.hessian(lambda x: x.pow(3).sum(), inputs[0]))
    with record.error("freed"):
        once = (weights["0.weight"] ** 2).sum()
        once.backward()
        once.backward()


def saved_tensor_hooks(record: Record) -> None:
    """The user's own saved-tensor hooks run as often as without a guard, and the default of them is none."""
    counts = {"packed": 0, "unpacked": 0}

    def pack(tensor: torch.Tensor) -> Any:
        counts["packed"] += 1
        return tensor.detach().clone()

    def unpack(kept: Any) -> torch.Tensor:
        counts["unpacked"] += 1
        return kept  # type: ignore[no-any-return]

    weight = torch.ones(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        loss = (weight.exp() * weight).sum()
    loss.backward()
    record.note("counts", counts)
    record.note("weight.grad", weight.grad)
    with torch.autograd.graph.save_on_cpu():
        (weight * weight.sigmoid()).sum().backward()
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        kept = torch.ones(2)
        loss = (weight[:2] * kept).sum()
        kept.mul_(5)
        loss.backward()
    record.note("weight.grad", weight.grad)


def anomalies(record: Record) -> None:
    """Anomaly mode: its error, and the forward call that its warning names."""
    weight = torch.zeros(2, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        loss = (weight.sqrt() * 0).sum()
        with record.error("anomaly"):
            loss.backward()


PROGRAMS = (
    checkpoints,
    checkpoint_differs,
    custom_functions,
    functional,
    saved_tensor_hooks,
    anomalies,
)
