"""What PyTorch writes just now where no version counter need see it: a step's parameters, BatchNorm's statistics.

Fused optimizers move no counter, and ``p.data.numpy()`` shows memory through a counter of its own, which no step of ``p``
moves. The memory alone is not enough: a hook or an optimizer of the user's may write it with NumPy in the middle of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import CodeType

import torch

from ..sites import is_stand_in


class Silent:
    """Set from before such a call until the look after it."""

    __slots__ = ("_callers", "_tensors")

    def __init__(self) -> None:
        self._tensors: Callable[[], Iterable[torch.Tensor]] | None = None
        self._callers: tuple[CodeType | None, ...] = ()

    def begin(self, tensors: Callable[[], Iterable[torch.Tensor]], *callers: CodeType | None) -> None:
        """PyTorch is called, by these functions of the user's, and may write these tensors: they are asked for when needed."""
        self._tensors, self._callers = tensors, callers

    def end(self) -> None:
        """It was looked at what it has written."""
        self._tensors, self._callers = None, ()

    def covers(self, low: int, high: int) -> bool:
        """Whether one of the tensors has a byte in ``[low, high)``."""
        if self._tensors is None:
            return False
        with torch._C.DisableTorchFunction():
            return any(_has_byte(tensor, low, high) for tensor in self._tensors())

    def wrote(self, low: int, high: int, code: CodeType | None) -> bool:
        """The same of a write that was found in a line of ``code``, which is to be one that called PyTorch."""
        if code is None or not (is_stand_in(code) or any(code is caller for caller in self._callers)):
            return False
        return self.covers(low, high)


def _has_byte(tensor: torch.Tensor, low: int, high: int) -> bool:
    try:
        if tensor.layout is not torch.strided or not tensor.is_cpu:
            return False
        start = tensor.data_ptr()
        return start < high and low < start + tensor.nbytes
    except (RuntimeError, NotImplementedError):  # no memory of its own: a sharded parameter, a fake one
        return False
