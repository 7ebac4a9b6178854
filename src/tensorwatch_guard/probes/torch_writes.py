"""Writes to shared memory that autograd's counter shows late or never: fused and foreach optimizers, AMP, BatchNorm.

The ops layer stands around the very call, so the memory is compared before and after it: what differs was written
there, by torch, by this thread and on this line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from ..current import LOCAL, Here
from ..operations import BY_OVERLOAD
from ..session import Session
from ..sharing.moments import Moment, Mutation, now
from ..sites import Trail
from ..words import Layer
from .compensation import Argument, Bumps, tensors_at, written_arguments

if TYPE_CHECKING:
    from types import FrameType

    from ..sharing.ledger import Piece
    from ..sharing.writes import Writes
    from .plans import Plan

_get_frame: Final = sys._getframe
_without_functions: Final = torch._C.DisableTorchFunction


def silently_written(func: Any, overload: str) -> tuple[Argument, ...]:
    """The arguments that an overload writes while the version counters stay as they are."""
    row = BY_OVERLOAD[overload]
    if row is None or row.bumps:
        return ()
    if row.writes:
        return tuple(Argument(at, func._schema.arguments[at].name) for at in row.writes)
    return written_arguments(func)


def follow(
    session: Session, here: Here, plan: Plan, types: Any, args: Any, kwargs: Mapping[str, Any], bumps: Bumps | None
) -> Any:
    """Run an operation that writes silently, and compare what of its memory is shared."""
    look = None
    here.busy = True
    try:
        look = _begin(session, plan, args, kwargs)
    except Exception as error:
        session.fault(plan.name, error)
    finally:
        here.busy = False
    result = plan.run(types, args, kwargs)
    if bumps is None and look is None:
        return result
    here.busy = True
    try:
        if bumps is not None:
            bumps.give_back()
        if look is not None:
            look.end()
    except Exception as error:
        session.fault(plan.name, error)
    finally:
        here.busy = False
    return result


def _begin(session: Session, plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Look | None:
    memory = session.memory
    if memory is None or memory.mode == "off":
        return None
    row = BY_OVERLOAD[plan.name]
    if row is not None and row.writes_when is not None and not row.writes_when(args, kwargs):
        return None
    with _without_functions():
        tensors = tensors_at(plan.silent, args, kwargs)
    return around(session, tensors, _get_frame(1))


def around(session: Session, tensors: Iterable[torch.Tensor], at: Trail | FrameType, layer: Layer = "ops") -> Look | None:
    """A look at the shared memory that a call may write, before it; None where there is none, or somebody else looks.

    ``at``: the call's place, or a frame on the way to it.
    """
    memory = session.memory
    if memory is None or memory.mode == "off":
        return None
    with _without_functions():
        storages = [one.untyped_storage() for one in tensors if one.is_cpu and one.numel()]
        addresses = {storage.data_ptr(): storage._cdata for storage in storages}
    if not any(memory.knows(address) for address in addresses) or any(map(memory.writes.follows, addresses)):
        return None  # a follower compares the same memory by line
    trail = at if isinstance(at, Trail) else session.trail(at)
    return Look(memory.writes, addresses, trail, LOCAL.here.name, layer)


class Look:
    """The shared memory that one call may write, compared before it (on making) and after."""

    __slots__ = ("_at", "_layer", "_pieces", "_storages", "_thread", "_writes")

    def __init__(self, writes: Writes, storages: Mapping[int, int], at: Trail, thread: str, layer: Layer) -> None:
        """``storages``: of the tensors that may be written, by where they begin."""
        self._writes = writes
        self._storages = frozenset(storages.values())
        self._layer = layer
        self._at = at
        self._thread = thread
        self._pieces: list[Piece] = []
        moment = now(at)
        with writes.lock:
            for address in storages:
                born = writes.young.nursery.at(address)
                if born is not None:
                    writes.young.adopt(born, moment)
                self._pieces += writes.ledger.at(address)
            writes.compare([piece.key for piece in self._pieces], moment)

    def end(self, bumps: int | None = None) -> None:
        """After the call: what differs now was written by it.

        ``bumps``: by how much the version counters will move once the call is over, where that is known.
        """
        writes, moment = self._writes, now(self._at)
        by_key = {piece.key: piece for piece in self._pieces}
        with writes.lock:
            for change, _ in writes.contents.look(list(by_key), stamp=moment):
                piece = by_key[change.key]
                seen = writes_seen(piece) or bumps is not None
                if bumps:
                    self._expect(piece, bumps)
                self._tell(piece, change, moment, seen=seen)

    def _expect(self, piece: Piece, bumps: int) -> None:
        """The counters of the storage that was written will move: that is this write, and no other."""
        for alias in list(piece.aliases.values()):
            storage = alias.storage() if alias.storage is not None else None
            if alias.probe is not None and storage is not None and storage._cdata in self._storages:
                alias.version = alias.probe._version + bumps

    def _tell(self, piece: Piece, change: Any, moment: Moment, *, seen: bool) -> None:
        piece.written += 1
        self._writes.tell_exact(
            Mutation(
                piece, change, "torch", moment, moment, True, self._thread, tuple(piece.aliases.values()), by=self._layer,
                sequence=moment.sequence, unseen=not seen,
            )
        )


def writes_seen(piece: Piece) -> bool:
    """Whether some alias's version counter has moved; they are taken as they are now."""
    seen = False
    for alias in list(piece.aliases.values()):
        if alias.probe is not None and alias.probe._version != alias.version:
            alias.version = alias.probe._version
            seen = True
    return seen
