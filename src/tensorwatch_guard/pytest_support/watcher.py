"""The fixture ``tensorwatch``: guards for parts of a test, and questions whose answers name the line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from ..current import LOCAL
from ..guard import guard
from ..levels import Setting
from ..options import Config
from ..places import place
from ..policy.message import source, violation_text
from ..policy.violation import GuardViolation
from ..running import RUNNING
from ..words import KINDS
from .settings import of_keywords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..report.model import Report
    from ..words import Finding


OFF: Final = Setting("off")


class Watched(guard):
    """A guard that can be asked."""

    def assert_none(self, *kinds: str) -> None:
        """Nothing of these kinds happened, but for what is allowed.

        Raises:
            GuardViolation: (an AssertionError) naming each line.
            ValueError: if no kind is named, or one that there is not.
        """
        __tracebackhide__ = True
        if self.is_open and "mutation" in kinds:
            self.check()
        _assert_none(self.report, kinds)

    def assert_no_mutations(self) -> None:
        """Nobody wrote into memory that is shared. Looks now, if the guard is open.

        Raises:
            GuardViolation: (an AssertionError) naming where it was written, or between which lines.
        """
        __tracebackhide__ = True
        self.assert_none("mutation")

    def assert_not_shared(self, tensor: object, array: object) -> None:
        """A tensor and an array (or two of either) have no memory in common.

        Raises:
            GuardViolation: (an AssertionError) naming the line since which they share, where this guard saw it.
        """
        __tracebackhide__ = True
        assert_not_shared(tensor, array, self)


class Watcher:
    """What the fixture gives: call it for a guard, or ask it about the last one (or the test's own)."""

    def __init__(
        self, base: Config, own: Callable[[], guard | None], prepare: Callable[[guard], None], *, killed: bool
    ) -> None:
        self._base = Config(level=OFF, report=False, writes="off") if killed else base
        self._killed = killed
        self._own = own
        self._prepare = prepare
        self._last: guard | None = None

    def __call__(self, *args: Any, **options: Any) -> Watched:
        """A guard for part of the test: ``with tensorwatch(sync=0) as g:``. Options as for the marker."""
        config = of_keywords(self._base, args, options)
        made: Watched = Watched.from_config(self._base if self._killed else config)
        self._prepare(made)
        self._last = made
        return made

    @property
    def guard(self) -> guard:
        """The guard that was opened last through this fixture, else the test's own.

        Raises:
            RuntimeError: if there is neither.
        """
        found = self._last or self._own()
        if found is None:
            raise RuntimeError("nothing is guarded: open one with `with tensorwatch() as g:`, or mark the test")
        return found

    @property
    def report(self) -> Report:
        """What that guard has seen."""
        return self.guard.report

    def assert_none(self, *kinds: str) -> None:
        """As ``Watched.assert_none``, of the last guard."""
        __tracebackhide__ = True
        if "mutation" in kinds and self.guard.is_open:
            self.guard.check()
        _assert_none(self.report, kinds)

    def assert_no_mutations(self) -> None:
        """As ``Watched.assert_no_mutations``, of the last guard."""
        __tracebackhide__ = True
        self.assert_none("mutation")

    def assert_not_shared(self, tensor: object, array: object) -> None:
        """As ``Watched.assert_not_shared``; needs no guard, but only a guard knows the line."""
        __tracebackhide__ = True
        assert_not_shared(tensor, array, self._last or self._own())


def _assert_none(report: Report, kinds: Iterable[str]) -> None:
    __tracebackhide__ = True
    kinds = tuple(kinds)
    if not kinds:
        raise ValueError(f"say what is not to happen, as in assert_none('sync'); kinds: {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r}; kinds: {', '.join(KINDS)}")
    broken = [(finding, f"no {finding.kind} was expected") for finding in _open(report, kinds)]
    if broken:
        findings, reasons = zip(*broken, strict=True)
        raise GuardViolation(violation_text(broken), findings, report, reasons)


def _open(report: Report, kinds: tuple[str, ...]) -> list[Finding]:
    return [finding for finding in report.findings if finding.kind in kinds and finding.allowed is None]


def assert_not_shared(one: object, other: object, watching: guard | None = None) -> None:
    """Two tensors or arrays have no memory in common.

    Raises:
        GuardViolation: (an AssertionError) if they have.
        TypeError: for anything that is neither tensor nor array.
    """
    __tracebackhide__ = True
    here = LOCAL.here
    busy, here.busy = here.busy, True  # to look is no sharing of its own
    try:
        first, second = _bytes(one), _bytes(other)
        shared = first is not None and second is not None and _overlap(first, second)
    finally:
        here.busy = busy
    if shared and first is not None:
        text = f"the {_name(one)} and the {_name(other)} share memory"
        raise GuardViolation("\n".join([text, *_history(first, watching)]), (), None)


def _name(value: object) -> str:
    return "tensor" if isinstance(value, torch.Tensor) else "array"


def _bytes(value: object) -> np.ndarray[Any, Any] | None:
    """The memory as an array that sees the same elements; None where it is not in host memory."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"assert_not_shared compares tensors and arrays, not {type(value).__name__}")
    with torch._C.DisableTorchFunction():
        if not value.is_cpu or value.layout is not torch.strided or value.numel() == 0:
            return None
        plain = value.detach()
        plain = plain._conj() if plain.is_conj() else plain  # a pending sign is taken off: the memory is the same
        plain = plain._neg_view() if plain.is_neg() else plain
        array: np.ndarray[Any, Any] = plain.view(_SAME_SIZE[plain.element_size()]).numpy()
        return array


_SAME_SIZE: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}
"""A dtype of the same size that NumPy knows."""


_MOST_WORK: Any = 100_000
"""Strides can make the exact answer a hard puzzle; then the bounds decide."""


def _overlap(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    try:
        return bool(np.shares_memory(one, other, max_work=_MOST_WORK))
    except np.exceptions.TooHardError:
        return bool(np.may_share_memory(one, other))


def _history(memory: np.ndarray[Any, Any], watching: guard | None) -> list[str]:
    """Since which line, as far as a guard knows it."""
    lines: list[str] = []
    for finding in _aliases(memory, watching):
        lines.append(f"  shared since {place(finding.site)} ({finding.op})")
        lines += source(finding.site, "      ")
        if finding.advice:
            lines.append(f"  do: {finding.advice}")
    return lines or ["  where that began was not seen: open the guard before the memory is handed out"]


def _aliases(memory: np.ndarray[Any, Any], watching: guard | None) -> list[Finding]:
    if watching is None:
        return []
    places = RUNNING.shared_in(*_bounds(memory))
    findings = watching.report.aliases
    return [finding for finding in findings if finding.site is not None and (finding.op, finding.site) in places]


def _bounds(memory: np.ndarray[Any, Any]) -> tuple[int, int]:
    start: int = memory.__array_interface__["data"][0]
    reach = [(n - 1) * s for n, s in zip(memory.shape, memory.strides, strict=True)]
    low = start + sum(r for r in reach if r < 0)
    return low, start + sum(r for r in reach if r > 0) + memory.itemsize
