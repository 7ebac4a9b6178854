"""Version counters of memory that is a part of its storage, as they were when it was last found unchanged.

A counter belongs to the storage: torch's writes to other parts move it, too. Where the whole of a storage is shared its
memory changes with it; of a part the counter's state has to be noted at each comparison, or an array's next write would be
put to torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ledger import Alias, Piece


class Noted:
    """Asked for the owner of a part ahead of each comparison; ``keep`` is called after one that has found nothing."""

    __slots__ = ("_hold", "_piece", "_seen")

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._hold = piece.hold
        self._seen: dict[int, int] = {}

    def __call__(self) -> object | None:
        self._seen = _versions(tuple(self._piece.aliases.values()))
        return self._hold()

    def keep(self) -> None:
        """What the counters said ahead of the comparison belongs to no write that comes after it."""
        for alias in tuple(self._piece.aliases.values()):
            alias.version = self._seen.get(alias.serial, alias.version)


class Versions:
    """The same for who compares after each line: it stands ahead of all memory in the lists that are compared.

    It is equal to everything; asked, it turns the page.
    """

    __slots__ = ("_before", "_now", "pieces")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.pieces: dict[int, Piece] = {}
        self._before: dict[int, int] = {}
        self._now: dict[int, int] = {}

    def __eq__(self, _: object) -> bool:
        try:
            aliases = [alias for piece in tuple(self.pieces.values()) for alias in tuple(piece.aliases.values())]
            self._before, self._now = self._now, _versions(aliases)
        except Exception:  # amid a trace function
            self._before = {}
        return True

    def recall(self, piece: Piece) -> None:
        """Set what is known of a piece's counters back to the comparison before this one."""
        for alias in tuple(piece.aliases.values()):
            alias.version = self._before.get(alias.serial, alias.version)


def _versions(aliases: tuple[Alias, ...] | list[Alias]) -> dict[int, int]:
    return {alias.serial: probe._version for alias in aliases if (probe := alias.probe) is not None}


