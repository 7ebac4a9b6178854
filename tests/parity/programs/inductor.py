"""`torch.compile` with the default backend: a small model through C++."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from parity.programs.compiling import note_counters

if TYPE_CHECKING:
    from parity.record import Record


def inductor(record: Record) -> None:
    """A two-layer model trained for three steps, compiled to C++."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    compiled = torch.compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = compiled(torch.randn(3, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
        record.note("loss", loss)
        record.note("read", loss.item())
    record.module("model", model)
    note_counters(record)


PROGRAMS = (inductor,)
