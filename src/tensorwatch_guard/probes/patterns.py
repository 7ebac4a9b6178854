"""What several transfers say together: memory that goes to and fro, a constant copied again, memory filled, then moved,
memory pinned in each step.

Told as ``details["pattern"]`` of the transfers' own findings; ``report/hints.py`` makes advice of it. Everything kept
here is bounded, and kept by site.
"""

from __future__ import annotations

import linecache
import re
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from ..collector import Tally
    from ..session import Session
    from ..sites import Trail
    from ..words import Direction

MOST_TARGETS: Final = 256
MOST_PLACES: Final = 4096
MOST_PINNED: Final = 32
SMALL: Final = 1024
"""Bytes up to which two copies are compared by value; above, the same storage unchanged counts as the same."""
TIMES: Final = 3
"""A constant is one from so many steps on."""
LINES_BEFORE: Final = 12
_MAKER: Final = r"torch\.(?:zeros|ones|full|empty|rand|randn|randint|randperm|arange|linspace|eye)(?:_like)?\("
_MADE_AND_MOVED: Final = re.compile(rf"^{_MAKER}.*\)\s*\.(?:to|cuda|xpu)\(", re.DOTALL)
_MOVED: Final = re.compile(r"^([A-Za-z_]\w*)\.(?:to|cuda|xpu)\(")


class Target:
    """The result of a transfer, while it lives."""

    __slots__ = ("direction", "step", "storage", "tallies", "version")

    def __init__(self, direction: Direction, tensor: torch.Tensor, step: int, tallies: Sequence[Tally]) -> None:
        self.direction = direction
        self.step = step
        self.storage = weakref.ref(tensor.untyped_storage())
        self.version = _version(tensor)
        self.tallies = tallies


class Place:
    """One site that copies to a device: what it copied last, and in how many steps in a row it was the same."""

    __slots__ = ("steps", "trail", "value", "when")

    def __init__(self, trail: Trail, value: object, step: int) -> None:
        self.trail = trail  # keeps the code alive: its id is the key
        self.value = value
        self.steps = 1
        self.when = step


class Patterns:
    """What is known of the transfers so far; one for the process, cleared with each session."""

    def __init__(self) -> None:
        self._targets: OrderedDict[int, Target] = OrderedDict()
        self._places: dict[object, Place] = {}
        self._pinned: deque[tuple[weakref.ref[torch.UntypedStorage], int]] = deque(maxlen=MOST_PINNED)
        self._pinned_at: dict[object, tuple[int, int]] = {}

    def clear(self) -> None:
        """A new session."""
        self._targets.clear()
        self._places.clear()
        self._pinned.clear()
        self._pinned_at.clear()

    def moved(
        self,
        session: Session,
        direction: Direction,
        source: torch.Tensor,
        target: torch.Tensor,
        at: Trail,
        tallies: Sequence[Tally],
    ) -> None:
        """A tensor was copied to another device. Asks no device anything."""
        if direction == "d2d" or not tallies or {source.layout, target.layout} != {torch.strided}:
            return
        self._to_and_fro(direction, source, target, session.steps.now, tallies)
        if direction == "h2d":
            self._constant(_value_of(source), at, session.steps.now, tallies)
            pinned = bool(tallies[0].details.get("pinned"))
            if tallies[0].count == 1 and not pinned and filled_then_moved(at):
                _mark(tallies, "fill-then-move")
            if pinned:
                self._pinned_in_step(source, session.steps.now, tallies)

    def pinned(self, session: Session, result: torch.Tensor) -> None:
        """The user's own line has copied a tensor into pinned memory just now."""
        self._pinned.append((weakref.ref(result.untyped_storage()), session.steps.now))

    def _pinned_in_step(self, source: torch.Tensor, step: int, tallies: Sequence[Tally]) -> None:
        storage = source.untyped_storage()
        if any(when == step and ref() is storage for ref, when in self._pinned):
            key = tallies[0].trail.key
            times, last = self._pinned_at.get(key, (0, -1))
            if last != step and len(self._pinned_at) < MOST_PLACES:
                self._pinned_at[key] = times + 1, step
            if times >= TIMES:
                _mark(tallies, "pinned-in-loop")

    def built(self, session: Session, data: object, at: Trail, tallies: Sequence[Tally]) -> None:
        """A tensor was made on a device from host data (a list, an array)."""
        value: object = None
        if isinstance(data, int | float | bool | complex):
            value = data
        elif isinstance(data, list | tuple) and len(data) <= 64 and all(isinstance(one, int | float) for one in data):
            value = tuple(data)
        self._constant(value, at, session.steps.now, tallies)

    def _to_and_fro(
        self, direction: Direction, source: torch.Tensor, target: torch.Tensor, step: int, tallies: Sequence[Tally]
    ) -> None:
        key = source.untyped_storage()._cdata
        known = self._targets.get(key)
        back = "h2d" if direction == "d2h" else "d2h"
        if known is not None and known.direction == back and known.step == step and known.storage() is not None:
            # what was computed on the device since is news to the host
            same = direction == "h2d" or known.version == _version(source)
            for some in (tallies, known.tallies) if same else ():
                _mark(some, "ping-pong")
        key = target.untyped_storage()._cdata
        self._targets.pop(key, None)
        self._targets[key] = Target(direction, target, step, tallies)
        if len(self._targets) > MOST_TARGETS:
            self._targets.popitem(last=False)

    def _constant(self, value: object, at: Trail, step: int, tallies: Sequence[Tally]) -> None:
        place = self._places.get(at.key)
        if place is None:
            if len(self._places) < MOST_PLACES:
                self._places[at.key] = Place(at, value, step)
            return
        if value is None or place.value != value:
            place.steps, place.value, place.when = 1, value, step
            _unmark(tallies, "constant")
        elif place.when != step:
            place.when = step
            place.steps += 1
            _unmark(tallies, "fill-then-move")  # filled once, moved many times
            if place.steps >= TIMES:
                _mark(tallies, "constant")


def _mark(tallies: Sequence[Tally], pattern: str) -> None:
    for tally in tallies:
        tally.details.setdefault("pattern", pattern)


def _unmark(tallies: Sequence[Tally], pattern: str) -> None:
    for tally in tallies:
        if tally.details.get("pattern") == pattern:
            del tally.details["pattern"]


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _value_of(tensor: torch.Tensor) -> object:
    """What stands for a host tensor's values: themselves if they are few, else the memory and its version."""
    if tensor.nbytes <= SMALL:
        try:
            array: Any = tensor.detach().numpy()
        except (RuntimeError, TypeError):  # a dtype or a bit that NumPy does not know
            return None
        return array.tobytes()
    if tensor.is_inference():
        return None
    return (weakref.ref(tensor.untyped_storage()), tensor._version, tensor.storage_offset(), tensor.shape)


def filled_then_moved(at: Trail) -> bool:
    """Whether the user's expression makes a tensor on the host and moves it, or moves one made a few lines before."""
    site = at.site
    if site is None or at.code is None or at.origin is not None or not site.source:
        return False
    if _MADE_AND_MOVED.match(site.source):
        return "device" not in site.source.rpartition(".")[0]
    moved = _MOVED.match(site.source)
    if moved is None:
        return False
    made = re.compile(rf"^\s*{re.escape(moved[1])}\s*=\s*{_MAKER}(?!.*\bdevice\b)")
    assigned = re.compile(rf"^\s*{re.escape(moved[1])}\s*(?:=[^=]|\[|\+=)")
    first = max(site.line - LINES_BEFORE, at.code.co_firstlineno)
    for number in range(site.line - 1, first - 1, -1):
        text = linecache.getline(site.file, number)
        if made.match(text):
            return True
        if assigned.match(text):
            return False
    return False


PATTERNS: Final = Patterns()
