"""What the supervisor tells the program it watches for: one record a fault, in memory that both can see.

The first page holds counters that change the moment a fault comes, so that looking costs one comparison.
Records follow, each a marshalled tuple behind its length: both sides are the same Python, and nothing needs
importing.
"""

from __future__ import annotations

import marshal
import mmap
import os
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER: Final = 4096
ROOM: Final = 64 << 20
"""Bytes mapped; a log that reaches the end counts what it cannot hold."""
REWIND: Final = 1 << 20
BEGUN: Final = 0
WRITTEN: Final = 1
LOST: Final = 2
"""The header's counters, eight bytes each: faults begun, faults in the log, faults it had no room for."""

DIRECT: Final = "direct"
HELPERS: Final = "helpers"
SOME: Final = "some"
UNTRACED: Final = "untraced"
_LENGTH: Final = struct.Struct("=I")


class Record(NamedTuple):
    """One fault of one watch.

    ``how``: DIRECT where ``stacks`` holds the writing thread's Python stack; HELPERS where a native thread wrote and
    ``stacks`` holds those of all Python threads that may have sent it, SOME where not all of them answered; UNTRACED
    where nobody could be asked. ``began`` is CLOCK_MONOTONIC in ns, ``took`` is in us. ``words`` is the beginning of
    the thread's native stack.
    """

    serial: int
    address: int
    thread: int
    kernel: bool
    began: int
    took: int
    pc: int
    words: bytes
    how: str
    stacks: tuple[tuple[int, str], ...]


class LogWriter:
    """The supervisor's end of the log."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._header = memoryview(mmap.mmap(descriptor, HEADER)).cast("Q")
        self.end = HEADER

    def begin(self, faults: int) -> None:
        """Faults have come; their records follow."""
        self._header[BEGUN] += faults

    def write(self, records: list[Record]) -> None:
        """Append records. Counted as lost where there is no room."""
        now = time.monotonic_ns()
        for record in records:
            data = packed(record._replace(took=(now - record.began) // 1000))
            if self.end + len(data) > ROOM:
                self._header[LOST] += 1
            else:
                self.end += os.pwrite(self._descriptor, data, self.end)
            self._header[WRITTEN] += 1

    def read_to(self, position: int) -> tuple[int, int]:
        """The other side has read that far: where it reads on, and to what end. Begins anew when the log is long."""
        if position == self.end and position > REWIND:
            os.ftruncate(self._descriptor, HEADER)
            os.ftruncate(self._descriptor, ROOM)
            position = self.end = HEADER
        return position, self.end


def packed(record: Record) -> bytes:
    """A record as it stands in the log."""
    body = marshal.dumps(tuple(record))
    return _LENGTH.pack(len(body)) + body


def unpacked(log: bytes) -> Iterator[Record]:
    """All records of a stretch of the log; what a supervisor's death cut short is left out."""
    position = 0
    while position + _LENGTH.size <= len(log):
        (length,) = _LENGTH.unpack_from(log, position)
        position += _LENGTH.size
        if length == 0 or position + length > len(log):
            return
        yield Record(*marshal.loads(log[position : position + length]))  # noqa: S302  # written by our own supervisor
        position += length
