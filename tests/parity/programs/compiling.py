"""`torch.compile` without code generation: the same graphs, the same breaks, the same results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from parity.record import Record


def note_counters(record: Record) -> None:
    """What dynamo counted: graphs, captured calls, recompilations, and every graph break with its reason."""
    from torch._dynamo.utils import counters

    record.note("stats", dict(counters["stats"]))
    record.note("graph breaks", dict(counters["graph_break"]))
    record.note("recompiles", dict(counters["recompiles"]))


def _fresh() -> None:
    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def _train(record: Record, backend: str) -> None:
    _fresh()
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 1))
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = compiled(torch.randn(3, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
        record.note("loss", loss)
        record.note("read", loss.item())
    record.module("model", model)
    note_counters(record)


def whole_graph(record: Record) -> None:
    """A model compiled whole, backend eager."""
    _train(record, "eager")


def whole_graph_aot(record: Record) -> None:
    """A model compiled whole, backend aot_eager: forward and backward are traced."""
    _train(record, "aot_eager")


def _breaking(values: torch.Tensor) -> torch.Tensor:
    doubled = values.to(torch.float64) * 2
    total = doubled.sum().item()
    if bool(doubled.max() > 1):
        doubled = doubled + total
    return doubled.cpu().sin()


def _through_numpy(values: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values.numpy() * 2) + 1


def _in_place(values: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    buffer.add_(values)
    return buffer.nonzero().to(torch.float32).sum() + torch.as_tensor(2.0) + torch.tensor(1.0)


def partial_graphs(record: Record) -> None:
    """Functions that read values and go through NumPy: breaks and recompilations stay what they are."""
    for name, function in {"breaking": _breaking, "numpy": _through_numpy}.items():
        _fresh()
        compiled = torch.compile(function, backend="eager")
        for size in (3, 3, 4, 5, 3):
            record.note(name, compiled(torch.arange(float(size))))
        note_counters(record)
    _fresh()
    buffer = torch.zeros(3)
    compiled_write = torch.compile(_in_place, backend="aot_eager")
    for _ in range(3):
        record.note("in place", compiled_write(torch.ones(3), buffer))
        record.note("version", buffer._version)
    note_counters(record)


def full_graph_errors(record: Record) -> None:
    """What `fullgraph=True` refuses, it refuses with the same words."""
    _fresh()
    with record.error("numpy of a gradient"):
        torch.compile(lambda x: (x * 2).numpy(), backend="eager", fullgraph=True)(torch.ones(2, requires_grad=True))
    with record.error("item"):
        record.note("item", torch.compile(lambda x: x * x.sum().item(), backend="eager", fullgraph=True)(torch.ones(2)))
    with record.error("branch"):
        torch.compile(lambda x: x if x.sum() > 0 else -x, backend="eager", fullgraph=True)(torch.ones(2))
    note_counters(record)


def disabled_parts(record: Record) -> None:
    """Parts kept out of the graph, a step that is compiled whole, and shared memory written between runs."""
    _fresh()

    @torch._dynamo.disable
    def logged(values: torch.Tensor) -> float:
        return values.sum().item()

    seen: list[Any] = []

    def step(values: torch.Tensor) -> torch.Tensor:
        seen.append(logged(values))
        return values * 3

    compiled = torch.compile(step, backend="eager")
    source = np.ones(3, dtype=np.float32)
    shared = torch.from_numpy(source)
    for number in range(3):
        source[:] = number
        record.note("result", compiled(shared))
    record.note("seen", seen)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    compiled_step = torch.compile(optimizer.step, backend="eager")
    for _ in range(2):
        weight.grad = torch.ones(2)
        compiled_step()
        record.note("weight", weight)
    note_counters(record)


def data_in_graphs(record: Record) -> None:
    """``.data`` read and assigned in compiled functions, with a break between, and under a function mode."""
    for name, function in {"read": _reads_data, "assigned": _assigns_data, "broken": _breaks_at_data}.items():
        _fresh()
        compiled = torch.compile(function, backend="eager")
        weight = nn.Parameter(torch.ones(3))
        for _ in range(2):
            record.note(name, compiled(weight, torch.arange(3.0)))
            record.note("weight", weight)
        note_counters(record)


def _reads_data(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    weight.data.mul_(2)
    return (weight * values).sum() + weight.data.sum()


def _assigns_data(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    weight.data = values * 3
    return weight.sum()


def _breaks_at_data(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    doubled = weight * 2
    torch._dynamo.graph_break()
    return doubled + weight.data


PROGRAMS = (whole_graph, partial_graphs, whole_graph_aot, full_graph_errors, disabled_parts, data_in_graphs)
