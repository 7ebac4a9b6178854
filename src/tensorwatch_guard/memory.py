"""Shared memory as a session tells it: aliases, mutations and hazards become findings of every open guard.

``sharing/`` knows memory and nothing of findings; this room stands between it and the session.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from .hazards import MOST_SUSPECTS, Hazards
from .sharing.handing_out import HandedOut
from .sharing.moments import BEGIN, Moment, now
from .sharing.nursery import BIRTH_SIZE
from .sharing.owners import Owner, is_file_backed, is_lent_again, last_array, owner_of, region_of
from .sharing.sampling import FLEETING, next_watched
from .sharing.states import MOST_TENSORS, States
from .sharing.writes import Writes
from .sites import NOWHERE, Trail, trail
from .telling import Telling, alias_details
from .words import Region, Site

if TYPE_CHECKING:
    from types import CodeType

    from .collector import Tally
    from .current import Here
    from .operations import Operation
    from .session import Session
    from .sharing.ledger import Piece

_LEFT: Final[list[object]] = []
"""What a forked child was born with."""
CENSUS: Final = "shared before the guard"
MODES: Final = ("off", "check", "auto", "exact")


def takes_turn(tally: Tally) -> bool:
    """Whether the alias that was just counted is one of its line's that are watched."""
    count = tally.count
    if count < tally.watch_at:
        return False
    if count >= FLEETING:
        tally.watch_at = next_watched(count, tally.gone, tally.passed)
    return True


class Memory:
    """The shared memory of the live session. ``mode`` is the ``writes`` option."""

    def __init__(self, session: Session, mode: str, share: float = 0.02) -> None:
        self.session = session
        self.mode = mode
        self.telling = Telling(session)
        self.writes = Writes(self.telling.mutated, self._moved, share, mode)
        self.attention = self.writes.attention
        self.hazards = Hazards(session, self.writes)
        self.telling.suspect, self.telling.in_flight = self.hazards.suspect, self.hazards.in_flight
        self.telling.passes = self.writes.passes
        self.states = States(lambda: session.steps.now)
        if mode == "off":
            self.writes.pace.never_look()

    def _moved(self, piece: Piece, moment: Moment, left: bool) -> None:
        self.hazards.moved(piece, moment, left=left)

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
        if tallies and not self.attention.is_for(at.key) and not takes_turn(tallies[0]):
            for tally in tallies:
                tally.passed += 1
            return
        self.writes.share(HandedOut(
            row.name, direction, now(at), tensor.untyped_storage(), region, owner, side, file_backed,
            watch=self.mode != "off", tensor=tensor,
        ))
        self.session.begin_sharing()

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
        self.writes.share(HandedOut(
            CENSUS, "tensor->array" if side is not None else "array->tensor", now(NOWHERE), tensor.untyped_storage(), region,
            owner_of(tensor, None if side is not None else array), side, watch=self.mode != "off", tensor=tensor,
        ))
        self.session.begin_sharing()
        direction = "tensor->array" if side is not None else "array->tensor"
        self.session.emit("alias", CENSUS, NOWHERE, details=lambda: alias_details(direction, region, tensor))

    def born(
        self,
        here: Here,
        row: Operation,
        direction: str,
        key: tuple[object, ...],
        at: Trail | tuple[CodeType, int],
        tensor: torch.Tensor,
        array: np.ndarray[Any, Any] | None,
        seen: torch.Tensor,
    ) -> bool:
        """The short way of an alias: counted like a read, held in the nursery if it is watched, which is returned.

        ``at``: code and instruction, where they are the user's own.
        """
        session = self.session
        if here.generation != session.generation:
            session.refresh(here)
        nbytes: int = tensor.nbytes
        watched, line = True, None
        for shard, collector in here.shards:
            tally = shard.get(key)
            if tally is None:
                trail = at if isinstance(at, Trail) else Trail(*at, None, -1)
                tally = collector.open(shard, key, "alias", row.name, trail, session.steps.now)
                tally.details = alias_details(direction, region_of(tensor), seen)
            tally.count += 1
            tally.last_step = session.steps.now
            tally.nbytes += nbytes
            if tally.threads is not None:
                tally.in_task()
            line = tally
            if not takes_turn(tally):
                watched = False
                tally.passed += 1
            if collector.heed is not None:
                collector.heed(tally, False)
        if watched:
            self._bear(row.name, direction, at, tensor, array, line if 0 < nbytes <= BIRTH_SIZE else None)
            if not session.sharing:
                session.begin_sharing()
        return watched

    def _bear(
        self,
        op: str,
        direction: str,
        at: Trail | tuple[CodeType, int],
        tensor: torch.Tensor,
        array: np.ndarray[Any, Any] | None,
        line: Tally | None,
    ) -> None:
        """``line``: that counts it, if the memory is small."""
        if not tensor.data_ptr():  # a functional tensor's array, for one: nobody knows what stands behind it
            return
        twins = self.writes.ledger.twins
        if twins and tensor.untyped_storage().data_ptr() in twins:
            line = None  # nobody asks twins about what is young
        if line is not None and tensor.is_contiguous() and (array is None or not is_lent_again(array)):
            self.writes.young.bear(op, direction, at, tensor, array, line)
            return
        moment = now(at if isinstance(at, Trail) else Trail(*at, None, -1))
        backed = array is not None and is_file_backed(array)
        self.writes.share(HandedOut(
            op, direction, moment, tensor.untyped_storage(), region_of(tensor), owner_of(tensor, array),
            tensor if array is None else None, backed, watch=self.mode != "off", tensor=tensor,
        ))

    def live(self, since: int) -> dict[tuple[object, ...], int]:
        """Aliases that can still be written from both sides, by (op, trail's key)."""
        with self.writes.lock:
            self._adopt_all()
            return self.writes.holders.live(since)

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

    def before_backward(
        self, at: Trail, roots: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor] | None, *, looks: bool
    ) -> None:
        """Look at all memory if it ``looks``, then for values that the graph saved before a write autograd did not see."""
        if looks:
            self.boundary(at, BEGIN)
        self.hazards.before_backward(at, roots, inputs)

    def settle(self) -> None:
        """What a boundary does that rests."""
        self.writes.settle()

    def peek(self, address: int | None, at: Trail) -> None:
        """An event that is no boundary."""
        if self.mode != "off":
            self.writes.peek(address, now(at))

    def look_early(self, at: Trail) -> None:
        """An event of a program that has just begun: everything shared is looked at, as if it were a boundary."""
        began = perf_counter_ns()
        if self.mode != "off":
            self.writes.boundary(now(at))
        self.writes.pace.early_ns -= max(perf_counter_ns() - began, 1)

    def waited(self, at: Trail) -> None:
        """The host waited for a device: copies under way are done."""
        if self.session.flying:
            self.writes.collect(now(at))  # a write whose line is known is told there
            self.hazards.in_flight.synchronized(at)

    def glance(self, address: int, code: CodeType, lasti: int, at: Trail | None) -> bool:
        """The short way of ``peek``, False where it does not do. ``at``: None where the code is the user's own."""
        return self.mode == "off" or self.writes.glance(address, code, lasti, at)

    def knows(self, address: int) -> bool:
        """Whether a storage that begins there is shared."""
        return address in self.writes.ledger.by_address or address in self.writes.young.nursery.by_address

    def passes_by(self, address: int, code: CodeType, lasti: int) -> bool:
        """Whether a read needs no look at all."""
        return self.writes.passes_by(address, code, lasti)

    def boundary(self, at: Trail, phase: int = 0, *, final: bool = False) -> None:
        """Everything shared is looked at. ``final``: at a guard's exit, which has no place in the user's code."""
        if self.mode != "off":
            began = perf_counter_ns()
            self.writes.boundary(now(NOWHERE if final else at, phase), whole=final)
            self.writes.pace.spend(perf_counter_ns() - began)

    def torch_boundary(self, at: Trail, phase: int) -> None:
        """What torch itself may write is looked at."""
        if self.mode != "off":
            began = perf_counter_ns()
            self.writes.torch_boundary(now(at, phase))
            self.writes.pace.spend(perf_counter_ns() - began)

    @property
    def last_serial(self) -> int:
        """The serial number of the newest alias."""
        return self.writes.ledger.last_serial

    def missed(self) -> str:
        """What of the shared memory was not compared, in words; empty where all of it was."""
        rested = 0 if self.mode == "off" else self.writes.pace.rested
        missed = {**self.writes.contents.missed(), "boundaries_passed_over": rested}
        parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in missed.items() if count]
        return ", ".join(parts)

    def raise_mode(self, mode: str, moment: Moment) -> None:
        """A nested guard may ask for more than the one around it."""
        if MODES.index(mode) > MODES.index(self.mode):
            if self.mode == "off":
                self.writes.pace.begin()
            self.mode = mode
            self.writes.follow(mode)

    def blind_spots(self) -> list[str]:
        """What was not looked at, in words."""
        spots = ["torch.FloatTensor(array), which shares memory and cannot be watched"]
        skipped = self.hazards.walks_skipped
        if skipped:
            spots.append(f"{skipped} graphs were not searched for stale values: the time budget was spent")
        if self.hazards.forgotten:
            known = f"the last {MOST_SUSPECTS} are known"
            spots.append(f"stale values of {self.hazards.forgotten:,} arrays that were written long before: {known}")
        if self.hazards.walks_cut:
            spots.append(f"large graphs that were searched for stale values only next to the loss: {self.hazards.walks_cut:,}")
        if self.states.forgotten:
            known = f"the last {MOST_TENSORS:,} tensors are known"
            spots.append(f"{self.states.forgotten:,} state_dicts that may be kept still: {known}")
        escalation = self.writes.escalation
        if escalation is not None and escalation.following is not None:
            for reason, count in escalation.following.refused.items():
                spots.append(f"writes to {count} pieces of shared memory could not be followed by line: {reason}")
        return spots

    # -- states of modules ---------------------------------------------------------------------------------------------

    def state_used(self, value: Any, op: str, at: Trail) -> None:
        """A state is about to be loaded or saved: was it written since it was taken?"""
        for state in self.states.used(value, at):
            self.telling.followed_state(state, op, at)

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


