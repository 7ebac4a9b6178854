"""Values on the simulated device against the CPU, same seeds: the harness of ``test_simulate_*_values.py``.

A case is a function of the device. Its results are bit-equal, or within a tolerance that has a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Case = Callable[[str], Any]


class Cases(dict[str, tuple[Case, float]]):
    """Cases by name, each with its tolerance."""

    def add(self, tolerance: float = 0.0) -> Callable[[Case], Case]:
        def keep(function: Case) -> Case:
            self[function.__name__] = (function, tolerance)
            return function

        return keep

    def check(self, name: str) -> None:
        function, tolerance = self[name]
        torch.manual_seed(7)
        expected = flat(function("cpu"))
        torch.manual_seed(7)
        found = flat(function("cuda"))
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


def flat(value: Any) -> list[torch.Tensor]:
    """All tensors in nested results, on the host."""
    if isinstance(value, torch.Tensor):
        return [value.detach().cpu()]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in flat(item)]
    return [] if value is None else [torch.as_tensor(value)]


def on(device: str, *shape: int, grad: bool = False) -> torch.Tensor:
    """Random numbers, drawn on the host."""
    return torch.randn(*shape).to(device).requires_grad_(grad)
