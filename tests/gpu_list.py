"""PyTorch's own list of what must and must not wait on CUDA (``test_torch.py::test_sync_warning``), and copies.

Shared by ``test_gpu.py`` and ``benchmarks/gpu_table.py``. A row is a name, what is expected, and what to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

F = torch.nn.functional


class Row(NamedTuple):
    """``waits``: whether the host waits; ``direction``: of the copy that is told, None for none."""

    name: str
    waits: bool
    direction: str | None
    run: Callable[[Any], object]


class Given:
    """What the rows work on."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.x = torch.rand(100, device="cuda")
        self.y = torch.rand((), device="cuda")
        self.values = torch.rand(2, device="cuda")
        self.mask = torch.zeros(100, dtype=torch.bool, device="cuda")
        self.mask[:2] = True
        self.index = torch.tensor([0, 1], device="cuda")
        self.host_index = torch.tensor([0, 1])
        self.repeats = torch.full((100,), 2, device="cuda")
        self.large = torch.rand(size, device="cuda")
        self.pageable = torch.rand(size)
        self.pinned = torch.rand(size).pin_memory()
        self.strided = torch.rand(size, 2).pin_memory()[:, 0]


SYNC_WARNING = (
    Row("x[mask] = number", False, None, lambda g: g.x.__setitem__(g.mask, 1.0)),
    Row("x[index] = tensor", False, None, lambda g: g.x.__setitem__(g.index, g.values)),
    Row("x[index]", False, None, lambda g: g.x[g.index]),
    Row("one_hot(index, num_classes)", False, None, lambda g: F.one_hot(g.index, num_classes=2)),
    Row("randperm", False, None, lambda g: torch.randperm(20000, device="cuda")),
    Row("repeat_interleave(x, 2, size)", False, None, lambda g: torch.repeat_interleave(g.x, 2, output_size=200)),
    Row(
        "repeat_interleave(x, r, size)",
        False,
        None,
        lambda g: torch.repeat_interleave(g.x, g.repeats, output_size=200),
    ),
    Row("any", False, None, lambda g: torch.any(g.y)),
    Row("x[mask] = tensor", True, None, lambda g: g.x.__setitem__(g.mask, g.values)),
    Row("x[host index] = tensor", True, "h2d", lambda g: g.x.__setitem__(g.host_index, g.values)),
    Row("x[mask]", True, None, lambda g: g.x[g.mask]),
    Row("x[host index]", True, "h2d", lambda g: g.x[g.host_index]),
    Row("nonzero", True, None, lambda g: g.x.nonzero()),
    Row("if y", True, None, lambda g: bool(g.y)),
    Row("one_hot(index)", True, None, lambda g: F.one_hot(g.index)),
    Row("repeat_interleave(x, r)", True, None, lambda g: torch.repeat_interleave(g.x, g.repeats)),
)
COPIES = (
    Row("pageable to device", True, "h2d", lambda g: g.pageable.to("cuda")),
    Row("pageable, non_blocking", True, "h2d", lambda g: g.pageable.to("cuda", non_blocking=True)),
    Row("pinned to device", True, "h2d", lambda g: g.pinned.to("cuda")),
    Row("pinned, non_blocking", False, "h2d", lambda g: g.pinned.to("cuda", non_blocking=True)),
    Row("pinned strided, non_blocking", True, "h2d", lambda g: g.strided.to("cuda", non_blocking=True)),
    Row("device to host", True, "d2h", lambda g: g.large.cpu()),
    Row("device to host, non_blocking", False, "d2h", lambda g: g.large.to("cpu", non_blocking=True)),
    Row("into pageable, non_blocking", True, "d2h", lambda g: g.pageable.copy_(g.large, non_blocking=True)),
    Row("into pinned, non_blocking", False, "d2h", lambda g: g.pinned.copy_(g.large, non_blocking=True)),
)
