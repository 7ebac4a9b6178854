"""The simulated machine: its devices, each thread's current device and streams, waits and copies in flight."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.cuda import _gpu_trace

from ..sites import FILES, OWN
from .late import LateCopies
from .refusal import SimulatorUnavailableError

if TYPE_CHECKING:
    from tensorwatch_guard.operations import Move

FORKED: Final = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
    "you must use the 'spawn' start method"
)
SYNCHRONIZES: Final = "called a synchronizing CUDA operation"


class _Thread(threading.local):
    def __init__(self) -> None:
        self.streams: dict[int, int] = {}
        """Device number to the current stream's id; 0 is the default stream."""


class Machine:
    """One simulated accelerator with ``count`` devices.

    ``late`` is None where copies complete at once. ``debug`` is the level of
    ``torch.cuda.set_sync_debug_mode``.
    """

    def __init__(self, count: int, *, late: bool) -> None:
        self.count = count
        self.late = LateCopies() if late else None
        self.debug = 0
        self.process = os.getpid()
        self.thread = _Thread()
        self.stream_ids = itertools.count(1)
        self.event_ids = itertools.count(1)
        # PyTorch's own functions, before others take their names: the guard's current device is the calling thread's.
        self._get_current, self._set_current = (
            torch._C._accelerator_getDeviceIndex,
            torch._C._accelerator_setDeviceIndex,
        )

    def check_devices(self) -> None:
        """See that PyTorch's inert guard knows the last device; called once ``torch.cuda`` says that it is there.

        Raises:
            SimulatorUnavailableError: it does not.
        """
        if self.count > 1:
            self._set_current(self.count - 1)
            seen = self._get_current()
            self._set_current(0)
            if seen != self.count - 1:
                raise SimulatorUnavailableError(
                    f"PyTorch {torch.__version__} can be given one simulated device only"
                )

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that entered: a real device cannot be used there."""
        return os.getpid() != self.process

    def check_process(self) -> None:
        """Raise what PyTorch raises in a forked child."""
        if self.forked:
            raise RuntimeError(FORKED)

    def index(self, device: torch.device | None = None) -> int:
        """The number of a device; the thread's current one where the index is not given."""
        number = None if device is None else device.index
        if number is None:
            return self._get_current() if self.count > 1 else 0
        if not 0 <= number < self.count:
            raise RuntimeError(f"CUDA error: invalid device ordinal\n{self.count} device(s) are simulated")
        return number

    def exchange(self, number: int) -> int:
        """Make a device the thread's current one (a negative number changes nothing) and return the one before."""
        before = self.index()
        if number >= 0 and self.index(torch.device("cuda", number)) != before:
            self._set_current(number)
        return before

    def stream(self, number: int | None = None) -> int:
        """The id of the thread's current stream on a device."""
        return self.thread.streams.get(self.index() if number is None else number, 0)

    def wait(self, stream: int | None = None) -> None:
        """The host waits for a stream: what every hidden synchronisation comes to.

        Raises:
            RuntimeError: ``torch.cuda.set_sync_debug_mode("error")`` is on.
        """
        if self.debug:
            self._complain()
        if _gpu_trace.StreamSynchronizationCallbacks.callback_list:
            _gpu_trace.StreamSynchronizationCallbacks.fire_callbacks(
                self.stream() if stream is None else stream
            )
        self.complete()

    def wait_for_device(self, number: int | None = None) -> None:
        """``torch.cuda.synchronize``. The debug mode does not see it, on a GPU neither."""
        self.check_process()
        if number is not None and number >= 0:
            self.index(torch.device("cuda", number))
        _gpu_trace.DeviceSynchronizationCallbacks.fire_callbacks()
        self.complete()

    def wait_for_event(self, event: int) -> None:
        """``Event.synchronize``."""
        _gpu_trace.EventSynchronizationCallbacks.fire_callbacks(event)
        self.complete()

    def moved(self, move: Move) -> None:
        """The waiting that a copy brings. One that was asked not to block, and must, is seen by no hook of CUDA."""
        if not move.non_blocking and move.direction != "d2d":
            self.wait()
        elif move.blocking:
            self.complete()

    def idle(self) -> bool:
        """``query``: whether all is done. Asking once is the time in which the rest gets done, so that polling ends."""
        idle = self.late is None or not self.late.pending
        self.complete()
        return idle

    def complete(self) -> None:
        """Finish the copies in flight."""
        if self.late is not None and self.late.pending:
            self.late.complete()

    def _complain(self) -> None:
        if self.debug == 2:
            raise RuntimeError(SYNCHRONIZES)
        level, frame = 1, sys._getframe()
        while frame.f_back is not None and FILES[frame.f_code.co_filename] == OWN:
            level, frame = level + 1, frame.f_back
        warnings.warn(SYNCHRONIZES, UserWarning, stacklevel=level)  # as C++ does: at the innermost Python line

    def set_debug(self, level: Any) -> None:
        """``torch._C._cuda_set_sync_debug_mode``: 0 says nothing, 1 warns, 2 raises."""
        self.debug = int(level)
