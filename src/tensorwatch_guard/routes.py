"""The way from a library's busy line out to the user's, remembered.

A loader's or a metric's line makes a hundred thousand calls below one line of the user's, thirty frames away. Walking there
costs more than everything else that is done about such a call. Once so many calls have taken one way, the frames at its two
ends are asked first: the user's instruction, and the library's that made the call, at their depths. Every sixteenth call is
walked all the same; a way that was not what its ends said is never trusted again.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Final

from .sites import FILES, HORIZONS, LIBRARY, USER, Trail, is_stand_in, trail

ENOUGH: Final = 64
"""Calls that took one way before it is trusted."""
WALKED: Final = 15
"""Of a trusted way one call in so many and one is walked."""
MOST: Final = 4096
MOST_OF_ONE: Final = 4
_get_frame: Final = sys._getframe


class Route:
    """One way out of a library's instruction. Depths are counted from its frame."""

    __slots__ = ("count", "depths", "trail", "trusted")

    def __init__(self, found: Trail) -> None:
        self.trail = found
        self.depths = 0, 0
        self.count = 0
        self.trusted = True

    def is_of(self, found: Trail) -> bool:
        """Whether it leads to the same two instructions."""
        known = self.trail
        return found[0] is known[0] and found[2] is known[2] and found[1] == known[1] and found[3] == known[3]


_routes: Final[dict[tuple[int, int], tuple[CodeType, list[Route]]]] = {}
"""By id of a code and instruction; the code is kept, for its id is the key."""


def busy_trail(frame: FrameType) -> Trail:
    """``sites.trail`` for who is called from ``frame`` itself and calls this function himself."""
    if HORIZONS:
        return trail(frame)
    key = (id(frame.f_code), frame.f_lasti)
    known = _routes.get(key)
    if known is None:
        if len(_routes) >= MOST:
            _routes.clear()
        known = _routes[key] = (frame.f_code, [])
    for route in known[1]:
        if route.count >= ENOUGH and route.trusted:
            found = route.trail
            user, origin = route.depths
            try:
                one, other = _get_frame(2 + user), _get_frame(2 + origin)
            except ValueError:  # the stack is not as deep
                continue
            if one.f_lasti != found[1] or one.f_code is not found[0]:
                continue
            if found[2] is None or (other.f_lasti == found[3] and other.f_code is found[2]):
                route.count += 1
                if route.count & WALKED:
                    return found
                walked = trail(frame)
                route.trusted = route.is_of(walked)
                return walked
    return _walk(frame, known[1])


def _walk(frame: FrameType, routes: list[Route]) -> Trail:
    """Go all the way, and remember it."""
    found = trail(frame)
    if found[0] is None:
        return found
    for at, route in enumerate(routes):
        if route.is_of(found):
            route.count += 1
            if route.count % ENOUGH == 0:  # also where a trusted one has come to be called from another depth
                route.depths = _depths(frame)
            if at and route.count > routes[0].count:
                routes[0], routes[at] = route, routes[0]
            return found
    if len(routes) < MOST_OF_ONE:
        routes.append(Route(found))
    elif routes[-1].count < ENOUGH:
        routes[-1] = Route(found)
    return found


def _depths(frame: FrameType) -> tuple[int, int]:
    """How many frames away the user's and the library's frame are that make up the trail."""
    depth, origin = 0, -1
    step: FrameType | None = frame
    while step is not None:
        kind = FILES[step.f_code.co_filename]
        if kind in (USER, LIBRARY) and not is_stand_in(step.f_code):
            if kind == USER:
                return depth, max(origin, 0)
            origin = depth if origin < 0 else origin
        step, depth = step.f_back, depth + 1
    return 0, 0


def forget() -> None:
    """Drop all ways: the session is over."""
    _routes.clear()
