"""Busy instructions: the way from each out to the user's line, and the tally that counts it, remembered.

A loader's or a metric's line makes a hundred thousand calls below one line of the user's, thirty frames away. Walking there
costs more than everything else that is done about such a call. Once so many calls have taken one way, the frames at its two
ends are asked first: the user's instruction, and the library's that made the call, at their depths. Now and then a call is
walked all the same; a way that was not what its ends said is never trusted again.

After a few hundred calls most are counted once the ends are what they were, and nothing else is asked: about one in sixteen,
later one in fifty, goes the long way; of the user's own lines one in 128.

All of it is one thread's, of one set of open guards: it lies in ``current.Here`` and goes when these change.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Final

from .sites import FILES, HORIZONS, LIBRARY, USER, Trail, is_stand_in

if TYPE_CHECKING:
    from .collector import Tally

ENOUGH: Final = 64
"""Calls that one place made before it is remembered."""
SETTLED: Final = 256
"""Calls of one place after which most are counted and nothing else."""
_BETWEEN: Final = (8, 15), (32, 31)
"""Between two that are walked: so many, and up to so many more, in step with no loop; the second pair after many more calls,"""
_BETWEEN_OWN: Final = (96, 63)
"""and these of a line that is the user's own: there is no other way it can have come."""
LONG_SETTLED: Final = 4096
_SPREAD: Final = 0x9E3779B1
MOST: Final = 4096
MOST_OF_ONE: Final = 4
_get_frame: Final = sys._getframe

Instruction = tuple[str, int, int]
"""What is called, the id of the calling code, the offset there."""


class Route:
    """One way out of a library's instruction. Depths are counted from its frame."""

    __slots__ = ("code", "depth", "lasti", "origin", "origin_depth", "origin_lasti", "tally")

    def __init__(self, tally: Tally, depth: int, origin_depth: int) -> None:
        self.tally = tally
        self.code, self.lasti, self.origin, self.origin_lasti = tally.trail[:4]
        self.depth = depth
        self.origin_depth = origin_depth


class Busy:
    """One instruction that makes watched calls. ``code`` is kept, for its id is the key; ``tally`` is set in the user's own."""

    __slots__ = ("code", "guess", "left", "routes", "settled", "tally", "trusted")

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.tally: Tally | None = None
        self.routes: list[Route] = []
        self.trusted = True
        self.settled = False
        """Most of its calls are counted and nothing else:"""
        self.left = 0
        """so many of the next. The one after them is walked."""
        self.guess: Tally | None = None
        """Where that one would have been counted."""

    def way(self, away: int) -> Tally | None:
        """The tally of the call that is being made by a library, so many frames away from this function."""
        for route in self.routes:
            try:
                user = _get_frame(route.depth + away)
                if user.f_code is route.code and user.f_lasti == route.lasti:
                    if not route.origin_depth:  # the instruction itself, or there is none
                        return route.tally
                    origin = _get_frame(route.origin_depth + away)
                    if origin.f_code is route.origin and origin.f_lasti == route.origin_lasti:
                        return route.tally
            except ValueError:  # the stack is not as deep
                continue
        return None

    def found(self, away: int) -> Tally | None:
        """The same of any call; None, too, where it is to be walked."""
        tally = self.tally or self.way(away + 1)
        if self.settled and not self.left:
            self.guess = tally
            return None
        return tally

    def settle(self, tally: Tally, *, may: bool = True) -> None:
        """A call was walked and counted in ``tally``: some of the next need no more than counting, if they ``may``."""
        count = tally.count
        known = tally is self.tally or (self.trusted and any(route.tally is tally for route in self.routes))
        self.settled = may and known and count >= SETTLED
        if self.settled:
            least, more = _BETWEEN_OWN if tally is self.tally else _BETWEEN[count >= LONG_SETTLED]
            self.left = least + (count * _SPREAD >> 24 & more)

    def learn(self, frame: FrameType, tally: Tally) -> None:
        """A call made from ``frame`` was walked, and counted in ``tally``."""
        depths = _depths(frame, tally.trail)
        if depths is None:
            return
        if any(known.tally is tally and (known.depth, known.origin_depth) == depths for known in self.routes):
            return
        if len(self.routes) < MOST_OF_ONE:  # of one line several, too: it may be called from several depths
            self.routes.append(Route(tally, *depths))
        else:
            self.routes[tally.count // ENOUGH % MOST_OF_ONE] = Route(tally, *depths)


def remember(
    known: dict[Instruction, Busy], name: str, frame: FrameType, tally: Tally, guess: Tally | None
) -> Busy | None:
    """A call of ``name`` made from ``frame`` was walked, and counted in ``tally``. Returns what is known of its instruction.

    ``guess``: where it would have been counted without the walk, None where nobody could say.
    """
    if tally.count < ENOUGH or tally.threads is not None:
        return None
    code = frame.f_code
    key = (name, id(code), frame.f_lasti)
    busy = known.get(key)
    if busy is not None and guess is None:
        guess, busy.guess = busy.guess, None
    if guess is tally:
        return busy
    if busy is None:
        if len(known) >= MOST:
            known.clear()
        busy = known[key] = Busy(code)
    if tally.trail.code is code:
        busy.tally = tally
    elif guess is not None:
        busy.trusted = False
        busy.routes.clear()
    elif busy.trusted and not HORIZONS and not tally.count % ENOUGH:  # of a line at changing depths not at each call
        busy.learn(frame, tally)
    return busy


def _depths(frame: FrameType, at: Trail) -> tuple[int, int] | None:
    """How far from ``frame`` the two frames are that make up a trail.

    None where the trail was found in another way: on autograd's threads it is the backward's.
    """
    depth, origin = 0, -1
    step: FrameType | None = frame
    while step is not None:
        kind = FILES[step.f_code.co_filename]
        if kind in (USER, LIBRARY) and not is_stand_in(step.f_code):
            if kind == USER:
                is_it = step.f_code is at.code and step.f_lasti == at.lasti
                return (depth, max(origin, 0)) if is_it else None
            origin = depth if origin < 0 else origin
        step, depth = step.f_back, depth + 1
    return None
