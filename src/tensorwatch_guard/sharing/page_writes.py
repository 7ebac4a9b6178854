"""From a record of the supervisor to the user's line and the library that wrote."""

from __future__ import annotations

import os
import re
import sys
import threading
from bisect import bisect_right
from typing import Final, NamedTuple

from tensorwatch_guard.sites import FILES, USER
from tensorwatch_guard.words import Place, Writer

from .kernel import PAGE
from .page_log import DIRECT, HELPERS, Record
from .suspects import KINDS_OF_FILES, WAITING

_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
_PASSED_THROUGH: Final = ("libc.", "libc-", "libm.", "libpthread", "ld-", "libgomp", "libomp", "libiomp",
"libstdc++", "libgcc")
"""Libraries that write for others: the next return address on the stack says for whom."""
_WORD: Final = 8


class Blame(NamedTuple):
    """Where a write came from. ``exact`` only when no other line can have done it."""

    place: Place | None
    thread: str
    exact: bool
    suspects: tuple[Place, ...]


def frames(stack: str) -> list[tuple[str, int, str]]:
    """``(file, line, function)`` of a stack as faulthandler writes it, innermost first."""
    return [(_plain(file), int(line), _plain(function)) for file, line, function in _FRAME.findall(stack)]


def _plain(text: str) -> str:
    """Undo faulthandler's escapes of characters outside ASCII."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: chr(int(next(filter(None, found.groups())), 16)), text)


def _users(stack: list[tuple[str, int, str]]) -> Place | None:
    for file, line, function in stack:
        if FILES[file] == USER:
            return Place(file, line, function)
    return None


class Threads:
    """Names of Python threads by the kernel's numbers, kept for a while after a thread has ended."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def look(self) -> None:
        """Learn the names of the threads that run now, and of ended ones whose objects are still held."""
        if len(self._names) > 1024:
            self._names.clear()
        # not threading.enumerate(): its lock may be held by the very code this is called from
        for thread in list(getattr(threading, "_dangling", ())):
            if thread.native_id is not None:
                self._names[thread.native_id] = str(thread.name)

    def name(self, number: int) -> str:
        """The name, or what can be said of a thread that nobody saw running."""
        return self._names.get(number) or f"thread {number}"


def blame(record: Record, threads: Threads) -> Blame:
    """The nearest line of the user's in the stack of the thread that wrote, or of those that may have sent it."""
    if record.how == DIRECT:
        thread, stack = record.stacks[0]
        place = _users(frames(stack))
        return Blame(place, threads.name(thread), place is not None, ())
    possible: list[tuple[int, Place]] = []
    for thread, text in record.stacks:
        stack_of_it = frames(text)
        place = _users(stack_of_it)
        if place is not None and KINDS_OF_FILES[stack_of_it[0][0]] != WAITING:
            possible.append((thread, place))
    if len(possible) == 1 and record.how == HELPERS:
        thread, place = possible[0]
        return Blame(place, threads.name(thread), True, ())
    return Blame(None, threads.name(record.thread), False, tuple(place for _, place in possible))


class Libraries:
    """Which library an instruction belongs to, from this process's memory map; read again when one is not known."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ranges: list[tuple[int, int, str]] = []
        self._nobodys: set[int] = set()
        self._modules = 0

    def writer(self, record: Record) -> Writer:
        """Whose code is nearest on the native stack: torch's, NumPy's, or anybody else's ("unknown")."""
        if record.kernel:
            return "unknown"
        words = [record.pc]
        words += [
            int.from_bytes(record.words[at : at + _WORD], sys.byteorder)
            for at in range(0, len(record.words) - _WORD + 1, _WORD)
        ]
        page = record.pc // PAGE
        if len(sys.modules) != self._modules or (self._file(record.pc) is None and page not in self._nobodys):
            self._read()
            self._nobodys.add(page)  # if it is still not found, it was compiled into memory without a file
        folders = _folders()
        for word in words:
            file = self._file(word)
            if file is None or os.path.basename(file).startswith(_PASSED_THROUGH):
                continue
            return next((name for name, starts in folders if file.startswith(starts)), "unknown")
        return "unknown"

    def _file(self, address: int) -> str | None:
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        start, end, file = self._ranges[at]
        return file if start <= address < end else None

    def _read(self) -> None:
        self._modules = len(sys.modules)
        ranges = []
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                words = line.split(None, 5)
                if len(words) == 6 and "x" in words[1] and words[5].startswith("/"):
                    start, _, end = words[0].partition("-")
                    ranges.append((int(start, 16), int(end, 16), words[5].rstrip("\n")))
        self._ranges = sorted(ranges)
        self._starts = [start for start, _, _ in self._ranges]


def _folders() -> list[tuple[Writer, tuple[str, ...]]]:
    """Where the shared libraries of NumPy and torch lie, those bundled beside the package among them."""
    found: list[tuple[Writer, tuple[str, ...]]] = []
    names: tuple[Writer, ...] = ("numpy", "torch")
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            folder = os.path.realpath(os.path.dirname(file))
            compiled = ("/tmp/torchinductor",) if name == "torch" else ()  # noqa: S108  # where inductor puts its own
            found.append((name, (os.path.join(folder, ""), folder + ".libs" + os.sep, *compiled)))
    return found
