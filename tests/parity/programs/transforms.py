"""`torch.func` and `torch.export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacrev, jvp, stack_module_state, vmap

if TYPE_CHECKING:
    from parity.record import Record


def mapped(record: Record) -> None:
    """vmap, grad, jvp, jacrev and hessian, with randomness, and the errors of reads inside them."""
    batch = torch.randn(4, 3)
    record.note("vmap", vmap(lambda x: x.to(torch.float64).sum())(batch))
    record.note("per sample", vmap(grad(lambda x: x.pow(3).sum()))(batch))
    record.note("random", vmap(lambda x: x + torch.rand(()), randomness="different")(batch))
    record.note("jvp", jvp(torch.sin, (batch,), (torch.ones_like(batch),)))
    record.note("jacrev", jacrev(lambda x: x.sin())(batch[0]))
    record.note("hessian", hessian(lambda x: x.pow(3).sum())(batch[0]))
    for name, inner in {
        "item": lambda x: x.sum().item(),
        "bool": lambda x: x if bool(x.sum() > 0) else -x,
        "float": lambda x: float(x.sum()),
        "numpy": lambda x: x.numpy(),
        "tolist": lambda x: x.tolist(),
        "nonzero": lambda x: x.nonzero(),
        "masked": lambda x: x[x > 0],
        "equal": lambda x: torch.equal(x, x),
    }.items():
        with record.error(f"vmap {name}"):
            record.note(f"vmap {name}: type", type(vmap(inner)(batch)).__name__)
        with record.error(f"grad {name}"):
            record.note(f"grad {name}: type", type(grad(lambda x, i=inner: (i(x), x.sum())[1])(batch[0])).__name__)


def ensembled(record: Record) -> None:
    """Several models run as one, their states stacked."""
    models = [nn.Linear(3, 2) for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    base = nn.Linear(3, 2).to("meta")

    def call(weights: dict[str, torch.Tensor], states: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = functional_call(base, (weights, states), (x,))
        return result

    record.note("outputs", vmap(call, in_dims=(0, 0, None))(parameters, buffers, torch.ones(2, 3)))


class _Exported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.linear(values.to(torch.float32)).relu()
        return result


class _Reading(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * 2 if values.sum() > 0 else values


def exported(record: Record) -> None:
    """`torch.export`: the program it makes, and its error for a branch on data."""
    program = torch.export.export(_Exported(), (torch.ones(2, 3, dtype=torch.float64),))
    record.note("graph", program.graph_module.code)
    record.note("output", program.module()(torch.ones(2, 3, dtype=torch.float64)))
    with record.error("branch"):
        torch.export.export(_Reading(), (torch.ones(2),))


PROGRAMS = (mapped, ensembled, exported)
