"""What PyTorch writes just now where no version counter need see it: a step's parameters, BatchNorm's statistics.

Fused optimizers move no counter, and ``p.data.numpy()`` shows memory through a counter of its own, which no step of ``p``
moves. The memory alone is not enough: a hook or an optimizer of the user's may write it with NumPy in the middle of the step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import CodeType, FrameType

import torch

from ..sites import is_stand_in


class Silent:
    """Set from before such a call until the look after it; of a step, which may call a closure of the user's, until its end."""

    __slots__ = ("_callers", "_tensors", "_within")

    def __init__(self) -> None:
        self._tensors: Callable[[], Iterable[torch.Tensor]] | None = None
        self._callers: tuple[CodeType | None, ...] = ()
        self._within: CodeType | None = None

    def begin(
        self,
        tensors: Callable[[], Iterable[torch.Tensor]],
        *callers: CodeType | None,
        within: CodeType | None = None,
    ) -> None:
        """PyTorch is called, by these functions of the user's, and may write these tensors: they are asked for when needed.

        ``within``: what a frame of this thread runs for as long as the call lasts.
        """
        self._tensors, self._callers, self._within = tensors, callers, within

    def end(self) -> None:
        """It was looked at what it has written; a look in the middle of a step is not the last one."""
        if self._tensors is not None and (self._within is None or not _runs(self._within)):
            self.over()

    def over(self) -> None:
        """The call has come to its end."""
        self._tensors, self._callers, self._within = None, (), None

    def put_aside(self) -> Callable[[], None]:
        """A backward that a step's closure calls writes no parameters. Returns what is to be called after it."""
        state = self._tensors, self._callers, self._within
        self.over()
        return partial(self._take_up, *state)

    def _take_up(
        self,
        tensors: Callable[[], Iterable[torch.Tensor]] | None,
        callers: tuple[CodeType | None, ...],
        within: CodeType | None,
    ) -> None:
        self._tensors, self._callers, self._within = tensors, callers, within

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


def _runs(code: CodeType) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


def _has_byte(tensor: torch.Tensor, low: int, high: int) -> bool:
    try:
        if tensor.layout is not torch.strided or not tensor.is_cpu:
            return False
        start = tensor.data_ptr()
        return start < high and low < start + tensor.nbytes
    except (RuntimeError, NotImplementedError):  # no memory of its own: a sharded parameter, a fake one
        return False
