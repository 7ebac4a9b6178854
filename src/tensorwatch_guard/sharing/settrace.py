"""Following lines with ``sys.settrace``: Python 3.11 and older.

One pair of trace functions a thread, made at its first event there; what they keep are code objects and numbers. The
interpreter calls them through borrowed references: before it does, it makes the frame object, which can set off garbage
collection and with it the end of what is watched, in this very thread. So a pair lives as long as its thread; between
two followings it rests.

Following can end and begin again at any point of another thread's trace function, so each thread looks after its own
tracer: it lets go by itself, and steps in again by itself if following has begun anew meanwhile.

Python ends the tracing of a thread whose trace function raises; nothing but the user's own exceptions may leave them.
Python 3.10 keeps the locals of followed frames alive until the frame's next event.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat, starmap
from threading import get_ident
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from . import thread_states
from .asides import NAME, stands_aside
from .at_once import ONCE, at_once, other_frames
from .follow import PATIENCE, LineFollower
from .pieces import RESTING
from .suspects import KINDS_OF_FILES, NOWHERE, OURS, PASSED, Record, is_our_work, line_of, stack, user_frame

if TYPE_CHECKING:
    from tensorwatch_guard.words import Write

Trace = Callable[[FrameType, str, Any], Any]
_MARK: Final = "tensorwatch_guard_line_follower"
"""The attribute by which a trace function of ours is known."""
_THREADS: Final = 256
_OTHERS: Final = frozenset({PASSED, OURS})
_Look = Callable[[CodeType | None, int, int], bool]
_Inner = tuple[list[Any], list[Any], dict[int, dict[int, CodeType]], _Look]
"""What trace functions take from their follower: snapshots, live memory, lines to be followed finely, the look."""


def _nothing(_code: CodeType | None, _line: int, _lasti: int) -> bool:
    return False


_AT_REST: Final[_Inner] = ([RESTING], [None], {}, _nothing)


@dataclass(slots=True, eq=False)
class _Thread:
    """One thread's trace functions, for calls and for what happens inside a frame, and its line so far."""

    calls: Trace
    inside: Trace
    record: Callable[[], Record]
    work_for: Callable[[SettraceFollower | None, Record], None]
    """To be called in the thread itself only."""
    follower: SettraceFollower | None = None
    """Whom they work for; None while they rest."""


_current: SettraceFollower | None = None
_threads: dict[int, _Thread] = {}
"""By ident; a thread enters its own and nobody takes it out while the thread lives."""


def _mine() -> _Thread | None:
    """This thread's functions. Those that are set are known again, should they have been forgotten."""
    mine = getattr(sys.gettrace(), _MARK, None)
    if isinstance(mine, _Thread):
        _threads[get_ident()] = mine
        return mine
    return _threads.get(get_ident())


def _forget(idents: set[int]) -> None:
    """Forget threads that have ended, except where one born under the same ident has a frame by now."""
    living = starmap(sys._current_frames, ONCE)
    at_once(map(_threads.pop, chain.from_iterable(map(idents.difference, living)), repeat(None)))


def _first(frame: FrameType, event: str, arg: Any) -> Any:
    """The first event of a thread, or of a frame that was there before: what is set in threads from outside."""
    return _elsewhere(frame, event, arg, None)


setattr(_first, _MARK, True)


def _is_ours(tracer: object) -> bool:
    return hasattr(tracer, _MARK)


def _elsewhere(frame: FrameType, event: str, arg: Any, so_far: Record | None) -> Any:
    """An event for a trace function that does not belong to who is at work now, if anybody is."""
    follower = _current
    if follower is None or not follower.running:
        _let_go(frame)
        follower = _current
    if follower is None or not follower.running or not _is_ours(sys.gettrace()):
        return None
    return follower._meet(frame, event, arg, so_far)


def _let_go(frame: FrameType | None, *, for_good: bool = True) -> None:
    """Take our trace functions out of this thread and off its frames, unless following begins anew meanwhile."""
    mine = _mine()  # and held in _threads from here on, whatever the tracer held
    taken = _is_ours(sys.gettrace())
    if taken:
        sys.settrace(None)
    if mine is not None:
        mine.work_for(None, NOWHERE)
    _unmark(_outwards(frame))
    follower = _current
    if for_good and taken and follower is not None and follower.running:
        sys.settrace(_first)
        _mark(_outwards(frame), _first)


def _pause(frame: FrameType) -> None:
    """This thread is not traced until the next look of its own: what is written meanwhile has no line."""
    follower = _current
    if follower is not None:
        follower._initial[get_ident()] = NOWHERE
        follower._paused.add(get_ident())
        follower._pieces.set_aside()
    _let_go(frame, for_good=False)


def _mark(frames: Iterable[FrameType], inside: Trace) -> None:
    """Have the user's frames on a stack followed, from the line they are in."""
    for frame in frames:
        if not KINDS_OF_FILES[frame.f_code.co_filename]:
            frame.f_trace = inside


def _unmark(frames: Iterable[FrameType]) -> None:
    for frame in frames:
        if _is_ours(frame.f_trace):
            frame.f_trace = None
            frame.f_trace_opcodes = False


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of this thread's own stack."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _record_of(frame: FrameType | None) -> Record:
    return (frame.f_code, frame.f_lineno or 0, -1) if frame is not None else NOWHERE


def _outer_line(frame: FrameType) -> Record:
    """The line that goes on when a frame is left, to the instruction if those are followed there."""
    back = user_frame(frame.f_back)
    if back is not None and back.f_trace_opcodes:
        return back.f_code, back.f_lineno or 0, back.f_lasti
    return _record_of(back)


def _describe(tracer: object) -> str:
    """A trace function in words: ``CTracer (coverage)``, ``Bdb.trace_dispatch (bdb)``."""
    named: Any = tracer if hasattr(tracer, "__qualname__") else type(tracer)
    package = str(getattr(named, "__module__", "") or "").partition(".")[0]
    return f"{named.__qualname__} ({package})" if package else str(named.__qualname__)


class SettraceFollower(LineFollower):
    """Steps aside for whoever holds the trace slot already, and never takes it back from one who comes later."""

    def __init__(self) -> None:
        super().__init__()
        self._initial: dict[int, Record] = {}
        self._paused: set[int] = set()
        """Threads that stand aside."""
        self._pieces.lets_resize = True

    def collect(self) -> list[Write]:
        """The writes seen since the last call, oldest first. A thread that stood aside is followed again from here on."""
        me = get_ident()
        if self._paused == {me} and self._pieces.enter(PATIENCE):
            try:
                self._pieces.take_back()
            finally:
                self._pieces.leave()
        found = super().collect()
        if me in self._paused:
            self._paused.discard(me)
            if self.running and sys.gettrace() is None:
                frame = sys._getframe(1)
                mine = self._take_over(me, _record_of(user_frame(frame)))
                _mark(_outwards(frame), mine.inside)
        return found

    def _stood_aside(self) -> bool:
        return get_ident() in self._paused

    def _enter(self) -> bool:
        global _current
        for tracer in (sys.gettrace(), threading.gettrace()):
            if tracer is not None and not _is_ours(tracer):
                self.why = f"trace function held by {_describe(tracer)}"
                return False
        _current = self
        me, frame = get_ident(), sys._getframe(1)
        self._initial.clear()
        self._paused.clear()
        threading.settrace(_first)
        mine = self._take_over(me, _record_of(user_frame(frame)))
        _mark(_outwards(frame), mine.inside)
        if thread_states.learn(mine.calls):
            self._reach_others()
        return True

    def _reach_others(self) -> None:
        """Follow the threads that run already; none of them if a single one is traced by somebody else."""
        known = set(_threads)
        tracers = thread_states.tracers()
        _forget(known - tracers.keys())
        if not self._ours().issuperset(tracers.values()):
            return
        thread_states.set_others(_first)
        others = set(other_frames())
        for ident in others:
            _mark(stack(ident), _first)
        for ident in others:  # only now: a thread without a word since then is still in this line
            self._initial[ident] = line_of(ident)

    @staticmethod
    def _ours() -> set[int]:
        return {0, id(_first), *(id(thread.calls) for thread in list(_threads.values()))}

    def _take_over(self, me: int, so_far: Record) -> _Thread:
        mine = _mine()
        if mine is None:
            mine = _threads[me] = self._make()
        mine.work_for(self, so_far)
        sys.settrace(mine.calls)
        return mine

    def _meet(self, frame: FrameType, event: str, arg: Any, so_far: Record | None) -> Any:
        """An event that reached a trace function that is not this thread's own: see that it has one, and hand it on."""
        me = get_ident()
        mine = _threads.get(me)
        if mine is None or sys.gettrace() is not mine.calls or mine.follower is not self:
            if len(_threads) > _THREADS:
                _forget(set(_threads) - thread_states.tracers().keys())
            if so_far is None:
                so_far = self._begun_in(me, frame, event)
            mine = self._take_over(me, so_far)
            _mark(_outwards(frame.f_back), mine.inside)
        return (mine.calls if event == "call" else mine.inside)(frame, event, arg)

    def _begun_in(self, me: int, frame: FrameType, event: str) -> Record:
        """The line this thread has been in until now, if that can be known."""
        user = user_frame(frame.f_back if event == "call" else frame)
        initial = self._initial.pop(me, NOWHERE)
        if user is None:
            return NOWHERE
        mine = _threads.get(
            me
        )  # of a thread that has ended and had the same ident, perhaps: then not in this code
        for record in (mine.record() if mine is not None else NOWHERE, initial):
            if record[0] is user.f_code:
                return record
        return _record_of(user) if event == "call" else NOWHERE

    @staticmethod
    def _make() -> _Thread:  # noqa: C901 - functions that share their variables
        kinds = KINDS_OF_FILES
        snapshots, live, spots, hit = _AT_REST
        code, line, lasti = NOWHERE

        def work_for(follower: SettraceFollower | None, so_far: Record) -> None:
            nonlocal snapshots, live, spots, hit, code, line, lasti
            old = (made.follower, snapshots, live, spots, hit, code)
            snapshots, live, spots, hit = follower._inner() if follower is not None else _AT_REST
            code, line, lasti = so_far
            made.follower = follower
            del old  # only now: their end may run anything, these functions too

        # No call may stand between a comparison that finds nothing and the new record: another thread could line this
        # one up in its old line and find what it writes in the next.
        def calls(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal code, line, lasti
            entered = frame.f_code
            kind = kinds[entered.co_filename]
            if (kind == OURS or entered.co_filename == "<string>") and is_our_work(frame):
                return None
            if kind in _OTHERS and code is not None and snapshots[0] is None:
                return None
            while snapshots != live:
                if snapshots[0] is RESTING:
                    return _elsewhere(frame, event, arg, (code, line, lasti))
                if not hit(code, line, lasti):
                    break
            if kind:
                return None
            code, line, lasti = entered, frame.f_lineno or 0, -1
            return inside

        def inside(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal code, line, lasti
            back = _outer_line(frame) if event == "return" else None
            while snapshots != live:
                if snapshots[0] is RESTING:
                    return _elsewhere(frame, event, arg, (code, line, lasti))
                if not hit(code, line, lasti):
                    break
            if event == "line":
                code = frame.f_code
                line = frame.f_lineno or 0
                lasti = -1
                if NAME in code.co_names and stands_aside(code, line, frame.f_globals):
                    return _pause(frame)
                if line in spots and id(code) in spots[line]:
                    frame.f_trace_opcodes = True
            elif back is not None:
                code, line, lasti = back
            elif event == "opcode":
                code, line, lasti = frame.f_code, frame.f_lineno or 0, frame.f_lasti
                if line not in spots or id(code) not in spots[line]:
                    lasti = -1
                    frame.f_trace_opcodes = False  # a debugger that takes over here must not meet such events
            return inside

        made = _Thread(calls, inside, lambda: (code, line, lasti), work_for)
        for trace in (calls, inside):
            setattr(trace, _MARK, made)
        return made

    def _inner(self) -> _Inner:
        return self._pieces.snapshots, self._pieces.live, self._spots, self._hit

    def _leave(self) -> None:
        if threading.gettrace() is _first:
            threading.settrace(None)
        _let_go(sys._getframe(1))

    def _record(self, thread: int) -> Record | None:
        mine = _threads.get(thread)
        return mine.record() if mine is not None and mine.follower is not None else self._initial.get(thread)

    def _untraced(self) -> set[int]:
        tracers = thread_states.tracers()
        if not tracers:
            followed = {ident for ident, thread in list(_threads.items()) if thread.follower is not None}
            return {get_ident(), *other_frames()} - followed
        ours = self._ours() - {0}
        return {ident for ident, tracer in tracers.items() if tracer not in ours}

    def _lost(self) -> bool:
        mine = _threads.get(get_ident())
        return mine is not None and mine.follower is not None and sys.gettrace() not in {mine.calls, _first}

    def _refine(self, code: CodeType, line: int) -> None:
        for frame in _outwards(sys._getframe(1)):
            if frame.f_code is code and frame.f_lineno == line and _is_ours(frame.f_trace):
                frame.f_trace_opcodes = True
