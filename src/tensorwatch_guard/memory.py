"""Shared memory as a session tells it: aliases, mutations and hazards become findings of every open guard.

``sharing/`` knows memory and nothing of findings; this room stands between it and the session.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from .hazards import WRITE, Hazards
from .sharing.differences import describe
from .sharing.moments import BEGIN, Moment, Mutation, now
from .sharing.nursery import BIRTH_SIZE
from .sharing.owners import Owner, is_file_backed, is_lent_again, last_array, owner_of, region_of
from .sharing.sampling import ALWAYS, is_watched
from .sharing.states import State, States
from .sharing.writes import Writes
from .sites import NOWHERE, Trail, trail
from .words import Region, Site

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from .collector import Tally
    from .current import Here
    from .operations import Operation
    from .session import Session
    from .sharing.ledger import Piece

_LEFT: Final[list[object]] = []
"""What a forked child was born with."""
STATE: Final = "Module.state_dict"
CENSUS: Final = "shared before the guard"
MODES: Final = ("off", "check", "auto", "exact")


def alias_details(direction: str, region: Region, tensor: torch.Tensor) -> dict[str, Any]:
    """What an alias finding says of its first happening."""
    return {
        "direction": direction,
        "shape": list(region.shape),
        "dtype": region.dtype,
        "nbytes": tensor.numel() * region.itemsize,
        "requires_grad": bool(tensor.requires_grad),
    }


class Memory:
    """The shared memory of the live session. ``mode`` is the ``writes`` option."""

    def __init__(self, session: Session, mode: str, share: float = 0.02) -> None:
        self.session = session
        self.mode = mode
        self.writes = Writes(self._mutated, self._moved, share, mode)
        self._cases: dict[object, list[Tally]] = {}
        self.hazards = Hazards(session, self.writes)
        self.states = States()

    def _moved(self, piece: Piece, moment: Moment) -> None:
        self.hazards.moved(piece, moment)

    # -- sharing -------------------------------------------------------------------------------------------------------

    def shared(
        self,
        row: Operation,
        at: Trail,
        direction: str,
        tensor: torch.Tensor,
        region: Region,
        owner: Callable[[], Owner],
        side: torch.Tensor | None,
        file_backed: bool,
    ) -> None:
        """Memory was handed out: an alias finding, and an entry in the ledger."""
        tallies = self.session.emit(
            "alias",
            row.name,
            at,
            nbytes=tensor.numel() * region.itemsize,
            implicit=row.implicit,
            details=lambda: alias_details(direction, region, tensor),
        )
        if tallies and not is_watched(tallies[0].count) and self.bears:
            for tally in tallies:
                tally.passed += 1
            return
        self.writes.share(
            row.name, direction, now(at), tensor.untyped_storage(), region, owner, side, file_backed,
            watch=self.mode != "off", tensor=tensor,
        )
        self.session.sharing = True

    def take_census(self) -> None:
        """Memory that tensors and arrays share already, however they came to: it is followed from now on, too."""
        from .sharing.census import groups

        for group in groups():
            tensors = [one for member in group.members if isinstance(one := member.ref(), torch.Tensor)]
            arrays = [one for member in group.members if isinstance(one := member.ref(), np.ndarray)]
            if group.overlap is False or not tensors or not arrays:
                continue
            self._found_shared(tensors[0], arrays[0])
            del tensors, arrays

    def _found_shared(self, tensor: torch.Tensor, array: np.ndarray[Any, Any]) -> None:
        base = last_array(array).base
        side = base if isinstance(base, torch.Tensor) else None
        region = region_of(tensor)
        self.writes.share(
            CENSUS, "tensor->array" if side is not None else "array->tensor", now(NOWHERE), tensor.untyped_storage(), region,
            owner_of(tensor, None if side is not None else array), side, watch=self.mode != "off", tensor=tensor,
        )
        self.session.sharing = True
        direction = "tensor->array" if side is not None else "array->tensor"
        self.session.emit("alias", CENSUS, NOWHERE, details=lambda: alias_details(direction, region, tensor))

    @property
    def bears(self) -> bool:
        """Whether small aliases may go the short way."""
        escalation = self.writes.escalation
        return escalation is None or not escalation.is_awake

    def born(
        self,
        here: Here,
        row: Operation,
        direction: str,
        frame: FrameType,
        at: Trail | None,
        tensor: torch.Tensor,
        array: np.ndarray[Any, Any] | None,
        seen: torch.Tensor,
    ) -> None:
        """The short way of an alias: counted like a read, held in the nursery. ``at``: None where ``frame`` is the user's."""
        session = self.session
        code, lasti = frame.f_code, frame.f_lasti
        if here.generation != session.generation:
            session.refresh(here)
        key = (row.name, id(code), lasti) if at is None else (row.name, *at.key)
        nbytes = tensor.nbytes
        watched = True
        for shard, collector in here.shards:
            tally = shard.get(key)
            if tally is None:
                tally = collector.open(shard, key, "alias", row.name, at or Trail(code, lasti, None, -1), session.step)
                tally.details = alias_details(direction, region_of(tensor), seen)
            tally.count += 1
            tally.last_step = session.step
            tally.nbytes += nbytes
            if tally.threads is not None:
                tally.in_task()
            if tally.count > ALWAYS and watched and not is_watched(tally.count):
                watched = False
                tally.passed += 1
            if collector.heed is not None:
                collector.heed(tally, False)
        if watched:
            self._bear(row.name, direction, at or (code, lasti), tensor, array, 0 < nbytes <= BIRTH_SIZE)
            session.sharing = True

    def _bear(
        self,
        op: str,
        direction: str,
        at: Trail | tuple[CodeType, int],
        tensor: torch.Tensor,
        array: np.ndarray[Any, Any] | None,
        small: bool,
    ) -> None:
        if small and tensor.is_contiguous() and (array is None or not is_lent_again(array)):
            self.writes.young.bear(op, direction, at, tensor, array)
            return
        moment = now(at if isinstance(at, Trail) else Trail(*at, None, -1))
        backed = array is not None and is_file_backed(array)
        self.writes.share(
            op, direction, moment, tensor.untyped_storage(), region_of(tensor), owner_of(tensor, array),
            tensor if array is None else None, backed, watch=self.mode != "off", tensor=tensor,
        )

    def live(self, since: int) -> dict[tuple[object, ...], int]:
        """Aliases that can still be written from both sides, by (op, trail's key)."""
        with self.writes.lock:
            self._adopt_all()
            return self.writes.ledger.live(since)

    def _adopt_all(self) -> None:
        """Newborns that were written are told, at the place of whoever asks."""
        if self.writes.young:
            self.writes.young.adopt_all(now(trail(sys._getframe(1))))

    def began_in(self, low: int, high: int) -> set[tuple[str, Site]]:
        """Where live aliases of memory in ``[low, high)`` were made: operations and sites."""
        with self.writes.lock:
            self._adopt_all()
            pieces = list(self.writes.ledger.overlapping(low, high))
            aliases = [alias for piece in pieces for alias in list(piece.aliases.values())]
        return {(alias.op, site) for alias in aliases if (site := alias.trail.site) is not None}

    # -- looking -------------------------------------------------------------------------------------------------------

    def before_backward(self, at: Trail, roots: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor] | None) -> None:
        """Look at all memory, then for values that the graph saved before a write autograd did not see."""
        self.boundary(at, BEGIN)
        self.hazards.before_backward(at, roots, inputs)

    def peek(self, address: int | None, at: Trail) -> None:
        """An event that is no boundary."""
        if address is not None and self.hazards.in_flight:
            self.hazards.in_flight.read(address, at)
        if self.mode != "off":
            self.writes.peek(address, now(at))

    def glance(self, address: int, code: CodeType, lasti: int, at: Trail | None) -> bool:
        """The short way of ``peek``, False where it does not do. ``at``: None where the code is the user's own."""
        if self.hazards.in_flight:
            return False
        return self.mode == "off" or self.writes.glance(address, code, lasti, at)

    def boundary(self, at: Trail, phase: int = 0, *, final: bool = False) -> None:
        """Everything shared is looked at. ``final``: at a guard's exit, which has no place in the user's code."""
        if self.mode != "off":
            self.writes.boundary(now(NOWHERE if final else at, phase), whole=final)

    def torch_boundary(self, at: Trail, phase: int, *, wrote: bool) -> None:
        """What torch itself may write is looked at. ``wrote``: it has just done so, whatever the version counters say."""
        if self.mode != "off":
            self.writes.torch_boundary(now(at, phase), wrote=wrote)

    @property
    def last_serial(self) -> int:
        """The serial number of the newest alias."""
        return self.writes.ledger.last_serial

    def missed(self) -> str:
        """What of the shared memory was not compared, in words; empty where all of it was."""
        missed = self.writes.contents.missed()
        parts = [f"{count} {name.replace('_', ' ')}" for name, count in missed.items() if count]
        return ", ".join(parts)

    def raise_mode(self, mode: str, moment: Moment) -> None:
        """A nested guard may ask for more than the one around it."""
        if MODES.index(mode) > MODES.index(self.mode):
            self.mode = mode
            self.writes.follow(mode)

    def blind_spots(self) -> list[str]:
        """What was not looked at, in words."""
        spots = ["torch.FloatTensor(array), which shares memory and cannot be watched"]
        skipped = self.hazards.walks_skipped
        if skipped:
            spots.append(f"{skipped} graphs were not searched for stale values: the time budget was spent")
        escalation = self.writes.escalation
        if escalation is not None and escalation.following is not None:
            for reason, count in escalation.following.refused.items():
                spots.append(f"writes to {count} pieces of shared memory could not be followed by line: {reason}")
        return spots

    def _mutated(self, mutation: Mutation) -> None:
        at = mutation.after.trail
        if mutation.unseen:
            self.hazards.suspect(mutation)
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

        tallies = self.session.emit(
            "mutation",
            WRITE,
            at,
            key=None if before is None else before.key,
            nbytes=mutation.change.last - mutation.change.first,
            details=details,
            thread=mutation.thread or None,
        )
        for tally in tallies:
            tally.extra = before
            tally.memory |= {(mutation.piece.region.dtype, len(mutation.piece.region.shape))}
            if tally.details.get("writer") != mutation.writer:
                tally.more["writer"] = tally.more.get("writer", 0) + 1
            for alias in mutation.aliases:
                tally.link("shared-by", "alias", alias.op, alias.trail)
        self._fold(mutation, tallies)

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
        for case in mutation.cases:
            for interval in self._cases.get(case, ()):
                interval.into = interval.into or next((t for t in tallies if t.owner is interval.owner), None)

    # -- states of modules ---------------------------------------------------------------------------------------------

    def state_used(self, value: Any, op: str, at: Trail) -> None:
        """A state is about to be loaded or saved: was it written since it was taken?"""
        for state in self.states.used(value, at):
            self._state_followed(state, op, at)

    def _state_followed(self, state: State, op: str, at: Trail) -> None:
        emit, written = self.session.emit, state.after or at
        before = None if state.exact else state.before
        emit(
            "alias", STATE, state.at, nbytes=state.nbytes,
            details={"direction": "module->state_dict", "nbytes": state.nbytes, "tensors": state.tensors},
        )
        mutations = emit(
            "mutation", WRITE, written, key=("state", before and before.key),
            details={
                "writer": "torch", "exact": state.exact, "between": None if before is None else (before, written),
                "region": state.name, "elements": None, "seen_by": ["check"],
            },
        )
        for tally in mutations:
            tally.extra = before
            tally.link("shared-by", "alias", STATE, state.at)
        hazards = emit(
            "hazard", op, at, key="followed-state",
            details={"type": "followed-state", "certain": True, "node": None, "entry": state.name},
        )
        for tally in hazards:
            tally.link("written-by", "mutation", WRITE, written, before)
            tally.link("shared-by", "alias", STATE, state.at)

    # -- ends ----------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """In a forked child: what is shared here is the parent's business. Kept, for its followers have to stand down."""
        self.writes.leave()
        _LEFT.append(self)

    def clear(self) -> None:
        """The session is over."""
        self.hazards.clear()
        self.states.clear()
        self.writes.clear()


