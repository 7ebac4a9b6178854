"""The operations table: one row an operation, and the look-ups the layers use; adding an operation is a row.

``BY_OVERLOAD["aten.index.Tensor"]`` is the row of an overload or None, one dictionary look-up after the first
question. The call probes read ``WATCHED``; the ops layer and the simulated accelerator read ``BY_OVERLOAD``:
``row.waits``, ``row.moves``, ``row.writes``.
"""

from __future__ import annotations

from typing import Any, Final

from .indexing import INDEXING
from .layouts import LAYOUTS
from .linalg import LINALG
from .looks import LOOKS
from .losses import LOSSES
from .model import Arguments, Keywords, Move, Operation
from .moves import BUILDS, MOVES, RELOCATIONS, SHARES, STATES
from .never import NEVER
from .reads import READS, WAITS
from .scalars import SCALARS
from .updates import UPDATES

OPERATIONS: Final[tuple[Operation, ...]] = (
    *READS,
    *WAITS,
    *LOOKS,
    *MOVES,
    *BUILDS,
    *SHARES,
    *STATES,
    *RELOCATIONS,
    *INDEXING,
    *SCALARS,
    *LINALG,
    *LOSSES,
    *LAYOUTS,
    *UPDATES,
    *NEVER,
)


class _Overloads(dict[str, "Operation | None"]):
    """Rows by overload name.

    A row that names a packet (``aten.nonzero``) answers for its overloads, and the answer is kept.
    """

    def __missing__(self, overload: str) -> Operation | None:
        row = dict.get(self, overload.rpartition(".")[0])
        self[overload] = row
        return row

    def get(self, overload: str, default: Any = None) -> Any:
        """As ``[]``, so that packets are found this way too."""
        row = self[overload]
        return default if row is None else row


WATCHED: Final[tuple[Operation, ...]] = tuple(
    row for row in OPERATIONS if row.probe is not None and row.targets
)
BY_OVERLOAD: Final[dict[str, Operation | None]] = _Overloads(
    {overload: row for row in OPERATIONS for overload in row.overloads}
)


def waits(row: Operation, args: Arguments, kwargs: Keywords) -> bool:
    """Whether the host waits in a call with these aten arguments, given that some tensor of them lives on a
    device.
    """
    when = row.waits
    return when == "always" or (when != "never" and when(args, kwargs))


__all__ = ["BY_OVERLOAD", "OPERATIONS", "WATCHED", "Move", "Operation", "waits"]
