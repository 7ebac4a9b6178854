"""Version counters of shared memory, as they were when it was last found unchanged.

A counter belongs to the storage: torch's writes to other parts move it, too, and so do those that change no byte. So the
counter's state has to be noted at each comparison, or an array's next write would be put to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import torch

from ..sites import from_signal_handler

if TYPE_CHECKING:
    from .ledger import Alias, Piece, Twin

_mode_on: Final = torch._C._is_torch_function_mode_enabled
MOST_WHOLE: Final = 64
"""Pieces that are followed by line and asked for their counters after each, although they are the whole of a storage."""


class Noted:
    """Asked for the owner of a part ahead of each comparison; ``keep`` is called after one that has found nothing."""

    __slots__ = ("_hold", "_piece", "_seen")

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._hold = piece.hold
        self._seen: dict[int, int] = {}

    def __call__(self) -> object | None:
        self._seen = _versions(self._piece.newest)
        return self._hold()

    def keep(self) -> None:
        """What the counters said ahead of the comparison belongs to no write that comes after it."""
        for witness in self._piece.witnesses:
            witness.version = self._seen.get(witness.serial, witness.version)


class Versions:
    """What is asked after each line, ahead of all memory in the lists that are compared.

    It is equal to everything; asked, it turns the page. Torch's call that changes no byte moves the counter as well: without
    the page before, the next write of NumPy's would be put to torch. ``drop`` gets the key of memory that is gone.
    """

    __slots__ = ("_before", "_drop", "_movable", "_now", "_pieces")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, drop: Callable[[int], None]) -> None:
        self._drop = drop
        self._pieces: dict[int, Piece] = {}
        self._movable: dict[int, Piece] = {}
        self._before: dict[int, int] = {}
        self._now: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._pieces or self._movable)

    def add(self, piece: Piece) -> None:
        """Ask for a piece, too; for one of very many only if torch writes to other parts of its storage."""
        if piece.partial or len(self._pieces) < MOST_WHOLE:
            self._pieces[piece.key] = piece
        if piece.owner.may_move:
            self._movable[piece.key] = piece

    def remove(self, key: int) -> None:
        """Ask for it no more."""
        self._pieces.pop(key, None)
        self._movable.pop(key, None)

    def __eq__(self, _: object) -> bool:
        try:
            for key, piece in tuple(self._movable.items()):
                if piece.hold() is None:
                    self._movable.pop(key, None)
                    self._drop(key)
            witnesses = [witness for piece in tuple(self._pieces.values()) for witness in piece.newest]
            if _mode_on():  # the user's own, amid whose lines this is asked
                with torch._C.DisableTorchFunction():
                    self._before, self._now = self._now, _versions(witnesses)
            else:
                self._before, self._now = self._now, _versions(witnesses)
        except Exception as error:  # amid a trace function
            self._before = {}
            if from_signal_handler(error):
                raise
        return True

    def recall(self, piece: Piece) -> None:
        """Set what is known of a piece's counters back to the comparison before this one."""
        if piece.key in self._pieces:
            for witness in piece.witnesses:
                witness.version = self._before.get(witness.serial, witness.version)


def _versions(witnesses: Iterable[Alias | Twin]) -> dict[int, int]:
    return {witness.serial: probe._version for witness in witnesses if (probe := witness.probe) is not None}


