"""What a dispatched operation does at the border between host and device: it waits, it moves data, or neither.

The operations table says so; this room applies a row to the arguments of one call, and names what it found as the user
would: ``x[[0, 1]]`` is ``Tensor.__getitem__`` there, whatever ATen calls its parts.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch

from ..looks import waited
from ..operations import BY_OVERLOAD, Operation, waits
from ..operations.copies import on_device
from ..operations.model import Move
from ..policy.foresee import Foreseen
from ..session import Session
from ..sites import Trail
from ..words import Direction

Tensor = torch.Tensor
_STAND_INS: Final = frozenset({"FakeTensor", "FunctionalTensor", "FunctionalTensorWrapper"})
_without_functions: Final = torch._C.DisableTorchFunction
_without_modes: Final = torch._C._DisableTorchDispatch
_modes: Final = torch._C._len_torch_dispatch_stack
MOST_PLACES: Final = 4096
_SUBSCRIPTS: Final = {
    "BINARY_SUBSCR": "Tensor.__getitem__",
    "BINARY_SLICE": "Tensor.__getitem__",
    "STORE_SUBSCR": "Tensor.__setitem__",
    "STORE_SLICE": "Tensor.__setitem__",
}
_places: Final[dict[object, tuple[Trail, str | None]]] = {}


def row_of(overload: str) -> Operation | None:
    """The row of an overload that can wait or move data; None for all others."""
    row = BY_OVERLOAD[overload]
    return row if row is not None and (row.waits != "never" or row.moves is not None) else None


class Effect:
    """What one call does. ``device``: the one it waits for; None where it only moves data."""

    __slots__ = ("device", "direction", "moves", "name", "overload")

    def __init__(
        self,
        name: str,
        overload: str,
        device: torch.device | None,
        moves: tuple[Move, ...],
        direction: Direction | None,
    ) -> None:
        self.name = name
        self.overload = overload
        self.device = device
        self.moves = moves
        self.direction = direction

    @property
    def blocking(self) -> bool:
        """Whether the host waits in it."""
        return self.device is not None or any(move.blocking for move in self.moves)

    def details(self, session: Session, seen_by: list[str]) -> dict[str, Any]:
        """As of a finding of the call layer; in backward also the node, and the forward's line if autograd kept it."""
        suffix = session.device_suffix
        if self.device is not None:
            found: dict[str, Any] = {"device": session.device_label(self.device), "seen_by": seen_by}
        else:
            move = self.moves[0]
            found = {
                "direction": move.direction,
                "src": move.src_device + (suffix if move.src_device != "cpu" else ""),
                "dst": move.dst_device + (suffix if move.dst_device != "cpu" else ""),
                "pinned": move.pinned,
                "non_blocking": move.non_blocking,
                "seen_by": seen_by,
            }
        if torch._C._current_graph_task_id() != -1:
            found.update(backward_details())
        return found

    def foreseen(self, session: Session) -> Foreseen:
        """The same for policy, before the call runs."""
        nbytes = sum(move.nbytes for move in self.moves)
        kind = "sync" if self.device is not None else "transfer"
        return Foreseen(kind, self.direction, self.blocking, nbytes, self.details(session, ["ops"]))  # type: ignore[arg-type]

    def tell(self, session: Session, at: Trail, nanoseconds: int, seen_by: list[str]) -> None:
        """A finding of its own: no watched call explains it."""
        blocking = self.blocking
        tallies = session.emit(
            "sync" if self.device is not None else "transfer",
            self.name,
            at,
            key=self.direction,
            nbytes=sum(move.nbytes for move in self.moves),
            blocked_ns=nanoseconds if blocking else 0,
            blocking=blocking,
            implicit=True,
            via=(self.overload,),
            details=self.details(session, seen_by),
        )
        if blocking and self.direction == "d2h":  # what it writes is written before its version counter moves
            if session.memory is not None:
                session.memory.waited(at)
        elif blocking:
            waited(session, at, tallies)


def effects_of(
    row: Operation, overload: str, types: Sequence[type], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Effect, ...]:
    """What a call with these arguments does: a wait, or moves, one effect a direction. Stand-ins do nothing."""
    if types and any(kind.__name__ in _STAND_INS for kind in types):
        return ()
    if _modes():  # a mode of the user's must not see our questions (is_pinned is an operation)
        with _without_functions(), _without_modes():
            return _effects(row, overload, args, kwargs)
    with _without_functions():
        return _effects(row, overload, args, kwargs)


def _effects(row: Operation, overload: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Effect, ...]:
    device = None
    if row.waits != "never":
        device = _device_of(args) or _device_of(kwargs.values())
        if device is not None and not waits(row, args, kwargs):
            device = None
    moves = row.moves(args, kwargs) if row.moves is not None else ()
    if device is not None:
        return (Effect(_name(row, overload, args), overload, device, moves, None),)
    if not moves:
        return ()
    directions: dict[Direction, tuple[Move, ...]] = {}
    for move in moves:
        directions[move.direction] = (*directions.get(move.direction, ()), move)
    return tuple(Effect(row.name, overload, None, some, direction) for direction, some in directions.items())


def _device_of(values: Iterable[Any]) -> torch.device | None:
    for value in values:
        if isinstance(value, Tensor):
            if on_device(value):
                return value.device
        elif isinstance(value, list | tuple):
            found = _device_of(value)
            if found is not None:
                return found
    return None


def _name(row: Operation, overload: str, args: Sequence[Any]) -> str:
    """``_linalg_check_errors`` is told which function asked."""
    if overload.startswith("aten._linalg_check_errors") and len(args) > 1 and isinstance(args[1], str):
        return args[1] if args[1].startswith("torch.") else f"torch.{args[1]}"
    return row.name


def subscript(at: Trail) -> str | None:
    """``Tensor.__getitem__`` or ``__setitem__`` where the user's instruction is a pair of brackets."""
    known = _places.get(at.key)
    if known is not None:
        return known[1]
    found = None
    if at.code is not None and at.lasti >= 0 and at.origin is None:
        name = dis.opname[at.code.co_code[at.lasti]]
        found = _SUBSCRIPTS.get(name)
        if name == "BINARY_OP" and _operator(at) == "[]":  # 3.14
            found = "Tensor.__getitem__"
    if len(_places) < MOST_PLACES:
        _places[at.key] = at, found  # the code is kept alive: its id is the key
    return found


def _operator(at: Trail) -> str:
    operators: Sequence[Any] = getattr(dis, "_nb_ops", ())
    index = at.code.co_code[at.lasti + 1] if at.code is not None else 0
    return str(operators[index][1]) if index < len(operators) else ""


def backward_details() -> dict[str, Any]:
    """The autograd node that runs in this thread; the forward's line where anomaly mode has it recorded."""
    node = torch._C._current_autograd_node()
    if node is None:
        return {"backward": None}
    metadata: Any = getattr(node, "metadata", {})
    lines = metadata.get("traceback_")
    found: dict[str, Any] = {"backward": node.name()}
    if lines:
        found["forward"] = _innermost(lines)
    return found


def _innermost(lines: Sequence[str]) -> str:
    """The last entry of a formatted stack outside torch, as ``file:line``."""
    root = torch.__path__[0]
    for entry in reversed(lines):
        head = entry.strip().split("\n")[0]
        if head.startswith('File "') and root not in head:
            file, _, rest = head[6:].partition('", line ')
            return f"{file}:{rest.partition(',')[0]}"
    return ""
