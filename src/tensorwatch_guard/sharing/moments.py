"""Moments and what is found between two of them."""

from __future__ import annotations

import itertools
import threading
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..sites import NOWHERE, Trail
from ..words import Change, Writer
from .graph import sequence_number

if TYPE_CHECKING:
    from .ledger import Alias, Piece


BEGIN: Final = 1
END: Final = 2
"""The two ends of one call that is looked at before and after: they stand at one place."""


tick: Final = itertools.count(1).__next__
"""The serial number of the next event, in all threads."""


class Moment(NamedTuple):
    """An event in time, as one thread saw it. ``sequence`` is autograd's number in that thread."""

    trail: Trail
    thread: int
    sequence: int
    phase: int = 0
    """``BEGIN`` or ``END`` of a call, 0 for all other events."""
    serial: int = 0
    """Which event of all it was."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal places and equal ends of a call."""
        return (*self.trail.key, self.phase)


Stamp = Moment | tuple[CodeType, int, int, int, int]
"""A moment, or its raw form on the short way: code, instruction, thread, sequence and serial number."""


def moment_of(stamp: Stamp | None) -> Moment:
    """A stamp as a moment."""
    if stamp is None:
        return START
    if isinstance(stamp, Moment):
        return stamp
    code, lasti, thread, sequence, serial = stamp
    return Moment(Trail(code, lasti, None, -1), thread, sequence, 0, serial)


START: Final = Moment(NOWHERE, 0, -1)


def now(trail: Trail, phase: int = 0) -> Moment:
    """This moment in this thread."""
    return Moment(trail, threading.get_ident(), sequence_number(), phase, tick())


class Mutation(NamedTuple):
    """Shared memory was written. ``before`` and ``after`` enclose the write in time; equal trails of an exact one name it."""

    piece: Piece
    change: Change
    writer: Writer
    before: Moment
    after: Moment
    exact: bool
    thread: str
    aliases: tuple[Alias, ...]
    by: str = "check"
    sequence: int | None = None
    unseen: bool = False
    """Autograd's counter did not see it: a saved tensor may be stale without PyTorch knowing."""
    known_to: frozenset[int] = frozenset()
    """Storages whose counters saw it: it is their saved tensors that PyTorch knows of."""
    inside: bool = False
    """Between the two ends of one torch call (a backward, an optimizer's step), not of a loop that turned."""
    turned_since: Trail | None = None
    """Where the memory was last looked at, if that place or the one of ``after`` was passed again before it was looked at
    now: then ``before`` is ``after``'s place, for any line of the loop may have written."""
    is_told: bool = False
    """It is a finding already: ``change`` says how far it went, and what it broke may be more."""
    times: int = 1
    """How many writes of its line it stands for."""
    cases: tuple[tuple[Any, ...], ...] = ()
    """What an interval is known by; of an exact mutation, the intervals it explains."""

    @property
    def since(self) -> Trail | None:
        """The other end of its interval, as its finding is known by it; None of an exact one."""
        if self.exact:
            return None
        if self.inside:
            return self.before.trail._replace(inside=True)
        return self.before.trail._replace(of=self.aliases[0].trail) if self.aliases else self.before.trail
