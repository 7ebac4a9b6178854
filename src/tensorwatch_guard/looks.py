"""What an event does for shared memory: is all of it looked at, or the memory at hand and the next few in turn, or none.

Reads come by the thousand, so a look of theirs is short. What waits for a device or moves data is a boundary, as backward and
an optimizer's step are, for as long as the time allowed lasts (see ``sharing/pace.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

import torch

from .sharing.sampling import is_often
from .sites import Trail

if TYPE_CHECKING:
    from types import FrameType

    from .collector import Tally
    from .session import Session


def after_read(session: Session, frame: FrameType, tensor: torch.Tensor, at: Trail | None, often: bool) -> None:
    """After a read: the memory at hand and the next few aliases in turn.

    ``at``: its place, None for the user's own. ``often``: this line has read so often that it looks at memory at hand only.
    """
    memory = session.memory
    if memory is None:
        return
    if session.flying:
        memory.hazards.in_flight.read(tensor, at or session.trail(frame))
    if session.pace.early_ns > 0:
        memory.look_early(at or session.trail(frame))
        return
    address = tensor.untyped_storage().data_ptr()
    code, lasti = (frame.f_code, frame.f_lasti) if at is None or at.code is None else (at.code, at.lasti)
    if not (often and memory.passes_by(address, code, lasti)) and not memory.glance(address, code, lasti, at):
        memory.peek(address, at or session.trail(frame))


def unnoted(session: Session, tally: Tally) -> None:
    """A busy line that reads without a look, or a note of its passing, for as long as nothing is found."""
    tally.unnoted = True
    if session.memory is not None:
        session.memory.writes.passes.unnoted.add((id(tally.trail.code), tally.trail.lasti))


def after_call(
    session: Session, at: Trail, tensor: torch.Tensor | None, tallies: Sequence[Tally], *, reads: bool = True
) -> None:
    """The same after a call whose place is known, counted in ``tallies``. ``tensor``: None where no host memory is at hand."""
    memory = session.memory
    if memory is None:
        return
    address = 0
    if tensor is not None:
        with torch._C.DisableTorchFunction():
            if tensor.layout is torch.strided and tensor.is_cpu:
                address = tensor.untyped_storage().data_ptr()
                if reads and session.flying:
                    memory.hazards.in_flight.read(tensor, at)
    if reads and session.pace.early_ns > 0:
        memory.look_early(at)
        return
    often = bool(tallies) and not session.memory_strict and is_often(tallies[-1].count)
    code, lasti = at.code, at.lasti
    if code is not None:  # noqa: SIM102 - one test of both is more than mypy follows
        if (often and memory.passes_by(address, code, lasti)) or memory.glance(address, code, lasti, at):
            return
    memory.peek(address, at)


def waited(session: Session, at: Trail, tallies: Sequence[Tally], host: torch.Tensor | None = None) -> None:
    """The host waited for a device: copies under way are done. ``host``: as in ``moved``."""
    if session.memory is not None:
        session.memory.waited(at)
    moved(session, at, host, tallies)


def moved(session: Session, at: Trail, host: torch.Tensor | None, tallies: Sequence[Tally]) -> None:
    """Something went to or from a device, and the host's end of it is at hand. Such are boundaries while time lasts."""
    if not session.sharing:
        return
    looks = perf_counter_ns() >= session.pace.until
    if host is not None or not looks:
        after_call(session, at, host, tallies, reads=False)
    if looks:
        session.boundary(at)
