"""How what was found in shared memory becomes findings: an alias, a write, the line that an interval gives way to.

``memory`` decides what is looked at and when; nothing in here looks at any memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch

from .folding import one_story
from .hazards import WRITE
from .sharing.differences import describe
from .sharing.moments import Mutation
from .sharing.states import State
from .sites import Trail
from .words import Region

if TYPE_CHECKING:
    from .collector import Tally
    from .in_flight import InFlight
    from .session import Session
    from .sharing.passes import Passes

STATE: Final = "Module.state_dict"


def alias_details(direction: str, region: Region, tensor: torch.Tensor) -> dict[str, Any]:
    """What an alias finding says of its first happening."""
    return {
        "direction": direction,
        "shape": list(region.shape),
        "dtype": region.dtype,
        "nbytes": tensor.numel() * region.itemsize,
        "requires_grad": bool(tensor.requires_grad),
    }


KEPT: Final = 3
"""So many of one place are kept, and no accident."""


class Telling:
    """Emits the findings of one session's shared memory. ``suspect`` gets each write that autograd does not know of."""

    passes: Passes
    in_flight: InFlight

    def __init__(self, session: Session) -> None:
        self._session = session
        self.suspect: Callable[[Mutation], None] = _nobody
        self._cases: dict[object, list[Tally]] = {}
        self._named: dict[object, list[Tally]] = {}
        """The lines that were found in an interval, also where the interval itself was never told."""

    def mutated(self, mutation: Mutation) -> None:
        """Shared memory was written."""
        at = mutation.after.trail
        by_torch = mutation.is_told and mutation.writer == "torch"  # by a line that is known: autograd knows of it, too
        if mutation.unseen or not (mutation.exact or mutation.inside or by_torch):
            self.suspect(mutation)
        if mutation.is_told:
            self._seen_again(mutation)
            return
        before = mutation.since

        def details() -> dict[str, Any]:
            region, elements, old, new = describe(mutation.piece.region, mutation.change)
            return {
                "writer": mutation.writer,
                "exact": mutation.exact,
                "between": None if before is None else (before, at),
                **({"since": mutation.turned_since} if mutation.turned_since is not None else {}),
                "region": region,
                "elements": elements,
                "before": old,
                "after": new,
                "seen_by": [mutation.by],
                **({"inside": True} if mutation.inside else {}),
            }

        kept = _kept(mutation)
        tallies = self._session.emit(
            "mutation",
            WRITE,
            at,
            key=None if before is None else before.key,
            nbytes=mutation.change.last - mutation.change.first,
            details=details,
            thread=mutation.thread or None,
        )
        if mutation.exact and self._session.flying:
            low = mutation.piece.region.address
            self.in_flight.mutated(low + mutation.change.first, low + mutation.change.last, at)
        for tally in tallies:
            tally.count += mutation.times - 1
            tally.extra = before
            tally.began = min(tally.began or mutation.before.serial, mutation.before.serial)
            tally.ended = max(tally.ended, mutation.after.serial)
            tally.again = partial(self.passes.again, (at, before, mutation.turned_since), mutation.after.serial)
            tally.memory |= {(mutation.piece.region.dtype, len(mutation.piece.region.shape))}
            tally.kept = max(tally.kept, kept)
            if tally.details.get("writer") != mutation.writer:
                tally.more["writer"] = tally.more.get("writer", 0) + 1
            for alias in mutation.aliases:
                tally.link("shared-by", "alias", alias.op, alias.trail)
        self._fold(mutation, tallies)

    def _seen_again(self, mutation: Mutation) -> None:
        """A write that is known by its line, seen from too far to tell it from others: it counts as that line's."""
        intervals = [interval for case in mutation.cases for interval in self._cases.get(case, ())]
        lines = [interval.into for interval in intervals if interval.into is not None]
        lines = lines or [line for case in mutation.cases for line in self._named.get(case, ())]
        for line in {id(line): line for line in lines}.values():
            line.count += 1
            line.last_step = self._session.steps.now

    def _fold(self, mutation: Mutation, tallies: list[Tally]) -> None:
        """One bug is told once: an interval gives way to the line that was found in it."""
        if not mutation.exact:
            for case in mutation.cases:
                known = self._cases.setdefault(case, [])
                known += [tally for tally in tallies if tally not in known]
            return
        for tally in tallies:
            place = mutation.after.trail.place
            if place is not None and place.lasti >= 0 and tally.trail.place is not None and tally.trail.place.lasti < 0:
                tally.trail = mutation.after.trail  # now the columns are known, too
        for tally in tallies:
            tally.starts |= {case[-2][:-1] for case in mutation.cases}
            tally.ends |= {case[-1][:-1] for case in mutation.cases}
        for case in mutation.cases:
            named = self._named.setdefault(case, [])
            named += [tally for tally in tallies if tally not in named]
            for interval in self._cases.get(case, ()):
                line = next((t for t in tallies if t.owner is interval.owner), None)
                if line is not None and one_story(line, interval) and interval.may_hold(line):
                    interval.into = interval.into or line
                    if line not in interval.lines:
                        interval.lines += (line,)

    def followed_state(self, state: State, op: str, at: Trail) -> None:
        """A kept state is loaded or saved that has followed the live weights."""
        emit, written = self._session.emit, state.after or at
        before = None if state.exact else state.before
        emit(
            "alias", STATE, state.at, nbytes=state.nbytes,
            details={"direction": "module->state_dict", "nbytes": state.nbytes, "tensors": state.tensors},
        )
        mutations = emit(
            "mutation", WRITE, written, key=("state", before and before.key),
            details={
                "writer": "torch", "exact": state.exact, "between": None if before is None else (before, written),
                "region": state.name, "elements": None, "seen_by": ["check"], "first": True,
            },
        )
        for tally in mutations:
            tally.extra, tally.first_step, tally.last_step = before, state.step, state.step
            tally.link("shared-by", "alias", STATE, state.at)
        hazards = emit(
            "hazard", op, at, key="followed-state",
            details={"type": "followed-state", "certain": True, "node": None, "entry": state.name},
        )
        for tally in hazards:
            tally.link("written-by", "mutation", WRITE, written, before)
            tally.link("shared-by", "alias", STATE, state.at)


def _kept(mutation: Mutation) -> int:
    """How many arrays or tensors are alive that all are this memory, several of one place: a history is to have one each."""
    places = Counter(alias.trail.key for alias in mutation.aliases)
    return len(mutation.piece.aliases) if any(count >= KEPT for count in places.values()) else 0


def _nobody(mutation: Mutation) -> None:
    """Until there is somebody who asks."""
