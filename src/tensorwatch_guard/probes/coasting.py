"""Steps that are counted and no more: those of an optimizer that has stepped many times alike, while nothing looks at them.

The hooks on a step do their work in the midst of PyTorch's, where all that they touch has to be fetched anew: around the
step of a small model that costs more than all the calls it makes. So of an optimizer whose steps are short all but one in
some thirty only ask whether anything is new: another optimizer, thread or guard, memory to look at, a state to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ..session import STEP_COUNTS, Session
from ..sharing.data_views import DataViews
from ..steps import Stepping

if TYPE_CHECKING:
    from ..current import Here
    from ..routes import Busy

MOST: Final = 31
"""Steps in a row."""
SHORT_NS: Final = 5_000_000
"""Of longer steps none coasts: what only a whole step sees to, a report file that is due, must not be late by many of them."""


class Coast:
    """The steps that may. What is asked of them at each is asked in the hooks themselves: a call would cost as much."""

    __slots__ = (
        "_given", "_whole_ns", "generation", "ident", "last", "left", "on", "reads_at", "stepping", "unwritten", "views",
    )  # fmt: skip

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """None may, and nothing is kept of what was known."""
        self.left = 0
        """So many of the next steps"""
        self.last: Callable[[], Any] | None = None
        """of this optimizer,"""
        self.ident = 0
        """in this thread,"""
        self.generation = -1
        """for these guards,"""
        self.unwritten: Mapping[int, Any] = {}
        """while no state is here,"""
        self.views = DataViews()
        """and nothing may be written at any later line through a ``.data`` of these."""
        self.reads_at: Busy | None = None
        """What is known of the place where they read their step counts; None where they read none."""
        self.stepping = Stepping()
        self.on = False
        """The step that runs is one of them."""
        self._whole_ns = 0
        """When the last one ended that was not, on ``perf_counter_ns``;"""
        self._given = 0
        """so many could coast after it."""

    def settle(self, session: Session, here: Here, optimizer: Any, frame: FrameType, now_ns: int) -> None:
        """A step has ended at which nothing was to be looked at: its optimizer's next ones may coast, or not."""
        steps = session.steps
        took, steps_since = now_ns - self._whole_ns, self._given - self.left + 1
        self._whole_ns, self._given, self.left = now_ns, 0, 0
        stepping, memory = steps.of(optimizer), session.memory
        if memory is None or not stepping.known or session.devices or took > SHORT_NS * steps_since:
            return
        left, busy = min(MOST, stepping.left), None
        if stepping.reads > 0:
            busy = here.busy_lines.get((STEP_COUNTS, id(frame.f_code), frame.f_lasti))
            if busy is None or here.generation != session.generation:
                return
        stepping.left -= left
        self.stepping, self.last, self.reads_at, self.left, self._given = stepping, steps.last, busy, left, left
        self.ident, self.generation = get_ident(), session.generation
        self.unwritten, self.views = memory.states.unwritten, memory.writes.data_views

    def count_reads(self, busy: Busy, step: int) -> bool:
        """A step is over that read as often as the ones before it. False where it was not called from where they were."""
        tally = busy.tally or busy.way(3)
        if tally is None:
            return False
        tally.count += self.stepping.reads
        tally.last_step = step
        return True


COAST: Final = Coast()
