"""Consequences: a gradient that is silently wrong, an array that points to freed memory, a copy that is overtaken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import torch

from .evidence import Write, apart, joined, size_of, still_changed
from .in_flight import InFlight
from .sharing.data_views import is_saved
from .sharing.graph import Stale, Suspect, sequence_number, walk
from .sharing.ledger import Alias, Piece
from .sharing.moments import Moment, Mutation, now, tick
from .sharing.pace import PART
from .sites import Trail

if TYPE_CHECKING:
    from .session import Session
    from .sharing.writes import Writes

WRITE: Final = "write"
PERHAPS: Final = "perhaps-written-by"
"""Beside writes that certainly made values stale: another one of which it is not known."""
WALK_SHARE: Final = 0.02
"""Part of wall time that looking through autograd graphs for stale values may take,"""
EASED_SHARE: Final = WALK_SHARE * PART
"""and while boundaries rest: what was written is known, and broke nothing new."""
WALK_GRACE_NS: Final = 50_000_000
MOST_SUSPECTS: Final = 256
MOST_OF_ONE_PIECE: Final = 8
MOST_HELD_IN_ALL: Final = 16 << 20
"""Bytes that are kept so of all writes together."""


class Hazards:
    """Keeps suspicious writes and tells what they broke."""

    def __init__(self, session: Session, writes: Writes) -> None:
        self._session = session
        self._writes = writes
        self.in_flight = InFlight(session)
        self._credit_ns = float(WALK_GRACE_NS)
        self._credited = perf_counter_ns()
        self.walks_skipped = self.walks_cut = self.forgotten = 0
        self.suspects: dict[int, list[Write]] = {}
        self._held = 0
        self._wrong_at: set[object] = set()
        """Backwards that are known to have used overwritten values."""

    # -- stale gradients -----------------------------------------------------------------------------------------------

    def suspect(self, mutation: Mutation) -> None:
        """Shared memory was written and autograd does not know, or knows of one write and cannot know of another."""
        region, change = mutation.piece.region, mutation.change
        first, last = mutation.before, mutation.after
        if not mutation.unseen and (first.thread != last.thread or not 0 <= first.sequence < last.sequence):
            return
        sequences = {}
        if mutation.sequence is not None:
            sequences[last.thread] = (mutation.sequence, mutation.sequence)
        elif first.thread == last.thread and last.sequence >= 0:  # of a write whose number nobody knows all are possible
            sequences[last.thread] = (first.sequence, last.sequence)
        low = region.address
        one = Suspect(
            tick(), low + change.first, low + change.last, sequences, counted=not mutation.unseen, known_to=mutation.known_to,
        )
        told, held = apart(mutation)
        self._keep(mutation.piece.key, Write(one, last.trail, told, held=held))

    def fused_step(self, at: Trail, optimizer: Any) -> None:
        """A fused optimizer wrote parameters without a bump of their counters: those that some graph still holds."""
        if not optimizer.defaults.get("fused"):
            return
        sequence, ident = sequence_number(), now(at).thread
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or not parameter.is_cpu or not is_saved(parameter):
                    continue
                low = parameter.data_ptr()
                one = Suspect(tick(), low, low + parameter.nbytes, {ident: (sequence, sequence)})
                self._keep(-low, Write(one, at, None))

    def _through_data(self) -> None:
        """Writes through ``.data`` since the last look; those are forgotten that concern no graph any more."""
        for key, known in list(self.suspects.items()):
            known[:] = [write for write in known if write.event is None or not write.event.concerns_nobody()]
            if not known:
                self.suspects.pop(key, None)
        for event in self._writes.data_views.events():
            if event.concerns_nobody():
                continue
            sequences = {event.ident: (event.first, event.last)} if event.first <= event.last else {}
            self._keep(-event.low, Write(Suspect(tick(), event.low, event.high, sequences), event.at, None, event))

    def _keep(self, key: int, write: Write) -> None:
        known, one = self.suspects.setdefault(key, []), write.suspect
        if self._held + size_of(write.held) > MOST_HELD_IN_ALL:
            write.held = None
        self._held += size_of(write.held)
        if write.event is None and write.held is None:
            known[:] = [w for w in known if w.held is not None or not (one.low <= w.suspect.low and w.suspect.high <= one.high)]
        known.append(write)
        while len(known) > MOST_OF_ONE_PIECE:
            first, second = known[:2]
            self._held -= size_of(first.held) + size_of(second.held)
            known[:2] = [joined(first, second)]
            self._held += size_of(known[0].held)
        while len(self.suspects) > MOST_SUSPECTS:
            self.forgotten += 1
            self._held -= sum(size_of(w.held) for w in self.suspects.pop(next(iter(self.suspects))))

    def has_work(self) -> bool:
        """Whether something was written that a graph may have saved, and there is time to look. Asked before each backward."""
        if self.suspects:
            now_ns = perf_counter_ns()
            self._credit_ns += (now_ns - self._credited) * (EASED_SHARE if self._writes.pace.eased else WALK_SHARE)
            self._credited = now_ns
            if self._credit_ns >= 0 or self._is_unbounded:
                return True
            self.walks_skipped += 1
        return not self._writes.data_views.is_quiet()

    @property
    def _is_unbounded(self) -> bool:
        """Whether every backward is looked at, whatever time it takes: in exact mode, and where a level would stop it."""
        escalation = self._writes.escalation
        return self._session.memory_strict or (escalation is not None and escalation.mode == "exact")

    def before_backward(self, at: Trail, roots: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor] | None) -> None:
        """Look for values that the graph saved before a write autograd did not see.

        ``inputs``: what gradients are wanted for, None for all leaves; nodes on no way to them will not run.
        """
        if self._writes.data_views:
            self._through_data()
        if not self.suspects or not roots or (self._credit_ns < 0 and not self._is_unbounded):
            return
        started = perf_counter_ns()
        result = walk(roots, [write.suspect for write in self._all()], inputs)
        self.walks_cut += result.cut
        writes, found = {}, []
        if result.found:
            writes = {write.serial: write for write in self._all()}
            found = list(still_changed(result, writes))
        self._credit_ns -= perf_counter_ns() - started
        if found:
            self._stale(at, found, writes)

    def _all(self) -> list[Write]:
        """As they are now: other threads find more meanwhile."""
        return [write for known in list(self.suspects.values()) for write in list(known)]

    def _stale(self, at: Trail, found: Sequence[Stale], writes: Mapping[int, Write]) -> None:
        certain = [one for one in found if one.certain]
        if certain:
            self._wrong_at.add(at.key)
        elif at.key not in self._wrong_at:
            self._follow_again([writes[one.suspect].mutation for one in found], at)
        first = (certain or list(found))[0]
        tallies = self._session.emit(
            "hazard",
            "backward",
            at,
            key=("stale-gradient", bool(certain)),
            details={
                "type": "stale-gradient",
                "certain": bool(certain),
                "node": first.node,
                "saved": first.attribute,
                "nodes": len({(one.node, one.attribute) for one in found}),
                **({"through": ".data"} if writes[first.suspect].event is not None else {}),
            },
        )
        for tally in tallies:
            for one in sorted(found, key=lambda one: not one.certain):
                write = writes[one.suspect]
                mutation = write.mutation
                extra = mutation.since if mutation is not None else None
                role = "written-by" if one.certain or not certain else PERHAPS
                tally.link(role, "mutation", WRITE, write.at, extra)
                for alias in mutation.aliases if mutation is not None else ():
                    tally.link("shared-by", "alias", alias.op, alias.trail)

    def _follow_again(self, mutations: Iterable[Mutation | None], at: Trail) -> None:
        escalation = self._writes.escalation
        for mutation in mutations:
            if escalation is not None and mutation is not None and not mutation.exact:
                escalation.doubt(mutation, at)

    # -- dangling aliases ----------------------------------------------------------------------------------------------

    def moved(self, piece: Piece, moment: Moment, *, left: bool) -> None:
        """An owner was found with other memory: what was handed out points to memory that is gone.

        ``left``: when the guard was left; ``moment`` is the last at which it was there.
        """
        self._dangling(moment.trail, "resize", list(piece.aliases.values()), told="after" if left else "later")

    def relocating(self, at: Trail, op: str, storage: torch.UntypedStorage) -> None:
        """A storage is about to get other memory: arrays that were handed out will dangle."""
        writes = self._writes
        with writes.lock:
            writes.young.adopt_all(now(at))
            known = [alias for piece in writes.ledger.at(storage.data_ptr()) for alias in list(piece.aliases.values())]
            handed_out = [
                alias
                for alias in known
                if alias.direction.startswith("tensor->")
                and (alias.side is None or alias.side() is not None)
                and (alias.direction != "tensor->buffer" or writes.holders.is_live(alias))
            ]
            if not op.endswith("Queue.put"):  # which is there to give it to somebody else
                lent = [alias for alias in known if not alias.direction.startswith("tensor->")]
                writes.severed.note([alias for alias in lent if writes.holders.is_live(alias)], at)
            for alias in known:
                writes.release(alias)
        if handed_out:
            self._dangling(at, op, handed_out, told="before")

    def _dangling(self, at: Trail, op: str, aliases: list[Alias], told: str) -> None:
        tallies = self._session.emit(
            "hazard",
            op,
            at,
            key="dangling-alias",
            details={"type": "dangling-alias", "certain": True, "node": None, "told": told, "aliases": len(aliases)},
        )
        for tally in tallies:
            for alias in aliases:
                tally.link("shared-by", "alias", alias.op, alias.trail)

    def clear(self) -> None:
        """The session is over."""
        self.suspects.clear()
        self._wrong_at.clear()
        self._held = 0
        self.in_flight.clear()
