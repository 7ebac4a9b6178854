"""The operations table: one row an operation, and the look-ups the layers use. Adding an operation is adding a row."""

from __future__ import annotations

from typing import Final

from .looks import LOOKS
from .model import Operation
from .moves import BUILDS, MOVES, RELOCATIONS, SHARES
from .reads import READS, WAITS

OPERATIONS: Final[tuple[Operation, ...]] = (*READS, *WAITS, *LOOKS, *MOVES, *BUILDS, *SHARES, *RELOCATIONS)

WATCHED: Final[tuple[Operation, ...]] = tuple(row for row in OPERATIONS if row.probe is not None and row.targets)
BY_OVERLOAD: Final[dict[str, Operation]] = {overload: row for row in OPERATIONS for overload in row.overloads}

__all__ = ["BY_OVERLOAD", "OPERATIONS", "WATCHED", "Operation"]
