"""Who can have written: the line every other thread is in, minus the threads that provably did nothing.

A change is seen by whoever compares first, so every thread's recorded line is a suspect: the line it has been in since
it last compared, not the one it stands on now. A thread is let off when it used no processor time since the last look,
when it has waited inside the standard library since its last comparison, or when its line holds no instruction that
could write.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import selectors
import sys
import threading
import time
from dis import EXTENDED_ARG, opmap
from functools import cache
from itertools import accumulate, chain, pairwise, repeat, starmap, takewhile, tee
from operator import methodcaller, truth
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from tensorwatch_guard.sites import FILES, OWN, USER
from tensorwatch_guard.words import Place

from .at_once import ONCE, at_once

Record = tuple[CodeType | None, int, int]
"""Where a thread is: its line's code, the line, and the instruction or -1."""

NOWHERE: Final[Record] = (None, 0, -1)
FOLLOWED: Final = 0
PASSED: Final = 1
WAITING: Final = 2
OURS: Final = 3

_WAIT_FILES: Final = frozenset(os.path.abspath(str(m.__file__)) for m in (threading, queue, selectors))
_WAIT_FUNCTIONS: Final = frozenset({
    "wait", "wait_for", "acquire", "_acquire_restore", "join", "_wait_for_tstate_lock", "get", "put", "select",
})  # fmt: skip


_BY_OWNER: Final = {USER: FOLLOWED, OWN: OURS}


class Kinds(dict[str, int]):
    """``co_filename`` to FOLLOWED (the user's), PASSED (others'), OURS, or WAITING (the standard library's waits)."""

    def __missing__(self, name: str) -> int:
        try:
            kind = _BY_OWNER.get(FILES[name], WAITING if name in _WAIT_FILES else PASSED)
        except Exception:
            kind = PASSED  # asked from trace functions, where nothing may be raised
        self[name] = kind
        return kind


KINDS_OF_FILES: Final = Kinds()


def is_our_work(frame: FrameType) -> bool:
    """Whether a frame was called by ours, and is ours or that of a named tuple: nothing of the user's is written in it."""
    back, code = frame.f_back, frame.f_code
    if back is None or FILES[back.f_code.co_filename] != OWN:
        return False
    return FILES[code.co_filename] == OWN or str(frame.f_globals.get("__name__")).startswith("namedtuple_")


_FEEDER: Final = (os.path.join(os.path.dirname(multiprocessing.__file__), "queues.py"), "_feed")
"""The thread behind ``multiprocessing.Queue`` pickles what was put: it reads the user's memory and writes its own."""

_HARMLESS_NAMES: Final = frozenset({
    "BUILD_LIST", "BUILD_STRING", "BUILD_TUPLE", "CACHE", "COPY", "COPY_FREE_VARS", "DUP_TOP", "DUP_TOP_TWO",
    "EXTENDED_ARG", "GEN_START", "IS_OP", "JUMP_ABSOLUTE", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT",
    "JUMP_FORWARD", "KW_NAMES", "LOAD_ASSERTION_ERROR", "LOAD_BUILD_CLASS", "LOAD_CLOSURE", "LOAD_CONST",
    "LOAD_DEREF", "LOAD_FAST", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_CHECK", "LOAD_FAST_LOAD_FAST", "LOAD_GLOBAL",
    "LOAD_NAME", "MAKE_CELL", "MAKE_FUNCTION", "NOP", "POP_BLOCK", "POP_EXCEPT", "POP_TOP", "PUSH_EXC_INFO",
    "PUSH_NULL", "RESUME", "RETURN_CONST", "RETURN_GENERATOR", "RETURN_VALUE", "ROT_THREE", "ROT_TWO",
    "STORE_DEREF", "STORE_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "STORE_GLOBAL", "STORE_NAME",
    "SWAP", "UNARY_NOT", "YIELD_VALUE",
})  # fmt: skip
_TRUTH_TESTS: Final = ("POP_JUMP_", "JUMP_IF_")
HARMLESS: Final = frozenset(
    number for name, number in opmap.items() if name in _HARMLESS_NAMES or name.startswith(_TRUTH_TESTS)
)
"""Instructions that write nowhere but into variables. A truth test counts as one: a ``__bool__`` of the user's is
followed itself, and no array's or tensor's writes."""

_CACHE: Final = opmap.get("CACHE", -1)

_verdicts: dict[tuple[int, int, int], tuple[CodeType, bool]] = {}


def can_write(code: CodeType, line: int, lasti: int = -1) -> bool:
    """Whether any instruction of that line (or that very instruction) could write to memory."""
    key = (id(code), line, lasti)
    known = _verdicts.get(key)
    if known is None:
        if len(_verdicts) > 2048:
            _verdicts.clear()
        known = _verdicts[key] = (code, _look_up(code, line, lasti))  # a code that is held keeps its id
    return known[1]


def _look_up(code: CodeType, line: int, lasti: int) -> bool:
    operations = code.co_code
    while 0 < lasti < len(operations) and operations[lasti] == _CACHE:
        lasti -= 2  # within a call, lasti points behind the instruction
    while 0 <= lasti < len(operations) and operations[lasti] == EXTENDED_ARG:
        lasti += 2
    if 0 <= lasti < len(operations):
        return operations[lasti] not in HARMLESS
    return any(
        number == line and not HARMLESS.issuperset(operations[start:end:2]) for start, end, number in code.co_lines()
    )


class Suspect(NamedTuple):
    """A line that can have written, and the thread that was in it. ``code`` None: code of which no line is known."""

    code: CodeType | None
    line: int
    lasti: int
    thread: int

    def could(self) -> bool:
        """Whether the line holds anything that could write. Of a library's own line nothing is known: it could."""
        return self.code is None or not self.is_users() or can_write(self.code, self.line, self.lasti)

    def is_users(self) -> bool:
        """Whether this is a line of the user's."""
        return self.code is not None and not KINDS_OF_FILES[self.code.co_filename]

    def spot(self) -> tuple[str, int]:
        """File and line."""
        return (self.code.co_filename, self.line) if self.code is not None else ("", 0)

    def place(self) -> Place | None:
        """The same in the words of the house."""
        if self.code is None:
            return None
        name: str = getattr(self.code, "co_qualname", self.code.co_name)
        return Place(self.code.co_filename, self.line, name, self.code, self.lasti)


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The nearest frame of the user's from here outwards: a library writes in the name of that line."""
    while frame is not None and KINDS_OF_FILES[frame.f_code.co_filename]:
        frame = frame.f_back
    return frame


def stack(thread: int) -> list[FrameType]:
    """All frames of a running thread, innermost first, as they stand at one instant.

    One chain of C calls: followed by hand, ``f_back`` of a frame that returns meanwhile ends the walk half way down.
    """
    top = map(methodcaller("get", thread), starmap(sys._current_frames, ONCE))
    steps: Any = chain(top, repeat("f_back"))
    return at_once(takewhile(truth, accumulate(steps, getattr)))


def line_of(thread: int) -> Record:
    """The user's line another thread stands on now."""
    for frame in stack(thread):
        if not KINDS_OF_FILES[frame.f_code.co_filename]:
            return frame.f_code, frame.f_lineno or 0, -1
    return NOWHERE


def helper_line(frame: FrameType | None, thread: int) -> Suspect:
    """For a thread without user frames: the innermost line outside this package."""
    while frame is not None and FILES[frame.f_code.co_filename] == OWN:
        frame = frame.f_back
    if frame is None:
        return Suspect(None, 0, -1, thread)
    return Suspect(frame.f_code, frame.f_lineno or 0, -1, thread)


def waits(frame: FrameType) -> bool:
    """Whether a thread stands in one of the standard library's waits. Followers compare when those are entered."""
    code = frame.f_code
    return KINDS_OF_FILES[code.co_filename] == WAITING and code.co_name in _WAIT_FUNCTIONS


def only_reads(frame: FrameType | None) -> bool:
    """Whether a thread is one that never writes to anybody else's memory."""
    while frame is not None:
        if frame.f_code.co_name == _FEEDER[1] and os.path.abspath(frame.f_code.co_filename) == _FEEDER[0]:
            return True
        frame = frame.f_back
    return False


@cache
def _clocks_run() -> bool:
    """Whether threads have processor clocks that see a few instructions. Some virtual kernels only count ticks."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return False
    clock = time.pthread_getcpuclockid(threading.get_ident())
    times = [time.clock_gettime_ns(clock) for _ in range(8)]
    return all(earlier < later for earlier, later in pairwise(times))


def processor_times() -> dict[int, int]:
    """Nanoseconds of processor time of every thread with a Python frame, by ident; empty where none can be had."""
    if not _clocks_run():
        return {}
    # One chain of C calls: no thread that _current_frames names can end before its clock is asked for.
    asked, idents = tee(chain.from_iterable(starmap(sys._current_frames, ONCE)))
    clocks = at_once(map(time.pthread_getcpuclockid, asked))
    times = {}
    for ident, clock in zip(idents, clocks, strict=True):
        try:
            times[ident] = time.clock_gettime_ns(clock)
        except OSError:  # the thread has ended since
            continue
    return times


def thread_name(ident: int) -> str:
    """The name of a thread, without registering threads that ``threading`` does not know and without its lock."""
    thread = getattr(threading, "_active", {}).get(ident)
    return str(thread.name) if thread is not None else f"native thread {ident}"
