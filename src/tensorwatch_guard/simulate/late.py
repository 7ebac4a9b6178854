"""Copies that complete late, as on a device that is busy: asynchronous copies made visible.

A pinned ``non_blocking`` copy to the device reads the host's buffer only before the next operation that
touches its target; a copy to the host is filled in at the next synchronisation, with the values the source
has now. Both orders are ones that a real device may choose.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import torch

from .tensors import ON_CPU, host_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

_copy = host_kernel(torch.ops.aten.copy_.default)
_clone = host_kernel(torch.ops.aten.clone.default)


class _Copy(NamedTuple):
    into: torch.Tensor
    source: torch.Tensor
    storage: int | None
    """The device storage whose next use needs the copy; None: only a synchronisation does."""


class LateCopies:
    """The copies in flight, oldest first."""

    def __init__(self) -> None:
        self.pending: list[_Copy] = []
        self._lock = threading.RLock()

    def to_device(self, into: torch.Tensor, source: torch.Tensor, storage: int) -> None:
        """Read ``source`` only before the next operation on the device ``storage``; both tensors are host sides."""
        with self._lock:
            self.pending.append(_Copy(into, source, storage))

    def to_host(self, into: torch.Tensor, source: torch.Tensor) -> None:
        """Fill ``into`` at the next synchronisation."""
        with self._lock:
            self.pending.append(_Copy(into, _clone(ON_CPU, source), None))

    def before(self, tensors: Iterable[torch.Tensor]) -> None:
        """Complete what an operation on these device tensors waits for."""
        storages = {tensor.untyped_storage()._cdata for tensor in tensors}
        with self._lock:
            due = [copy for copy in self.pending if copy.storage in storages]
            self.pending = [copy for copy in self.pending if copy.storage not in storages]
            self._run(due)

    def complete(self) -> None:
        """Complete all: the host waits."""
        with self._lock:
            due, self.pending = self.pending, []
            self._run(due)

    @staticmethod
    def _run(due: list[_Copy]) -> None:
        for copy in due:
            _copy(ON_CPU, copy.into, copy.source)
