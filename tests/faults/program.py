"""A program that meets every probe of the guard at least once, and what it computes: the same whatever the guard does."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

Told = list[Any]


def reads(told: Told) -> None:
    x = torch.arange(6.0)
    told += [x[1].item(), float(x[2]), int(x[3]), bool(x[0]), x.tolist(), f"{x[4]:.1f}", repr(x), torch.equal(x, x)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        print(x)
    told.append(printed.getvalue())
    with contextlib.suppress(RuntimeError):
        x.item()


def shares(told: Told) -> None:
    x = torch.zeros(3, 4)
    array = x.numpy()
    row = np.asarray(x[1])
    x.add_(1)
    told.append(array.sum().item())
    array[0] = 5
    told.append(x.sum().item())
    back = torch.from_numpy(array[1:])
    taken = torch.as_tensor(np.arange(4.0))
    raw = torch.frombuffer(bytearray(8), dtype=torch.uint8)
    raw[0] = 3
    del array
    row += 1
    told += [back.tolist(), taken.tolist(), raw.tolist(), row.tolist()]
    for _ in range(3):  # the interval is followed in the next turns
        held = x.numpy()
        x.mul_(2)
        told.append(x[0, 0].item())
        held[2] = 0
        told.append(x.sum().item())


def breaks(told: Told) -> None:
    weights = torch.ones(4, requires_grad=True)
    values = np.ones(4, dtype=np.float32)
    loss = (weights * torch.from_numpy(values)).sum()
    values[:] = 7
    loss.backward()
    told.append(weights.grad.tolist())
    grown = torch.zeros(4)
    dangling = grown.numpy()
    grown.share_memory_()
    told += [dangling.shape, grown.tolist()]


def trains(told: Told) -> None:
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    statistics = model[1].running_mean.numpy()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    kept = model[0].weight.detach().numpy()
    for (batch,) in DataLoader(TensorDataset(torch.randn(12, 4)), batch_size=4):
        optimizer.zero_grad()
        loss = model(batch).pow(2).sum()
        torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        loss.backward()
        optimizer.step()
        told += [loss.item(), statistics.tolist(), kept.tolist()]
    told.append({name: value.tolist() for name, value in model.state_dict().items()})
    model.load_state_dict(model.state_dict())
    model.to(torch.float64)


PARTS: tuple[Callable[[Told], None], ...] = (reads, shares, breaks, trains)


def run() -> Told:
    """All parts in turn."""
    told: Told = []
    for part in PARTS:
        part(told)
    return told
