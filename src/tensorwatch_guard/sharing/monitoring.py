"""Following lines with ``sys.monitoring``: Python 3.12 and newer.

All threads at once, beside coverage and debuggers, and library code costs nothing: its events are switched off one
by one as they first come. ``restart_events`` is never called, for it would wake every other tool's events as well. Nor
does giving back a tool id clear anything: events and call-backs are taken off by hand before.
"""

from __future__ import annotations

import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from .at_once import other_frames
from .follow import LineFollower
from .suspects import KINDS_OF_FILES, NOWHERE, OURS, PASSED, Record, line_of, stack, user_frame

if TYPE_CHECKING:
    from types import CodeType

_TOOL_IDS: Final = (4, 3)
"""Ids without a meaning of their own: 0 is for debuggers, 1 coverage, 2 profilers, 5 optimizers."""


class MonitoringFollower(LineFollower):
    """Never has to step aside, except where both free tool ids are taken."""

    def __init__(self) -> None:
        super().__init__()
        self._api: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._tool: int | None = None
        self._records: dict[int, Record] = {}
        self._codes: dict[int, CodeType] = {}

    def _enter(self) -> bool:
        self._tool = self._take_tool_id()
        if self._tool is None:
            self.why = "no free sys.monitoring tool id: " + ", ".join(
                f"{number} is held by {self._api.get_tool(number)}" for number in _TOOL_IDS
            )
            return False
        events = self._api.events
        self._records.clear()
        for event, callback in self._make().items():
            self._api.register_callback(self._tool, event, callback)
        self._api.set_events(
            self._tool, events.PY_START | events.PY_RESUME | events.PY_THROW | events.PY_UNWIND
        )
        running = [get_ident(), *other_frames()]
        for ident in running:
            for frame in stack(ident):
                if not KINDS_OF_FILES[frame.f_code.co_filename]:
                    self._follow(frame.f_code)
        for ident in running:  # only now: a thread without a word since then is still in this line
            self._records.setdefault(ident, line_of(ident))
        return True

    def _take_tool_id(self) -> int | None:
        for number in _TOOL_IDS:
            if self._api.get_tool(number) is None:
                try:
                    self._api.use_tool_id(number, "tensorwatch_guard")
                except ValueError:  # somebody was quicker
                    continue
                return number
        return None

    def _make(self) -> dict[int, Any]:  # noqa: C901 - call-backs that share their variables
        snapshots, live, kinds = self._pieces.snapshots, self._pieces.live, KINDS_OF_FILES
        records, codes, spots = self._records, self._codes, self._spots
        hit, follow, getframe, off = self._hit, self._follow, sys._getframe, self._api.DISABLE

        # No call may stand between a comparison that finds nothing and the new record: another thread could line this
        # one up in its old line and find what it writes in the next.
        def line(code: CodeType, number: int) -> None:
            me = get_ident()
            while snapshots != live and hit(*records.get(me, NOWHERE)):
                pass
            records[me] = (code, number, -1)

        def instruction(code: CodeType, offset: int) -> Any:
            me, number = get_ident(), getframe(1).f_lineno or 0
            singly = id(code) in spots.get(number, ())
            while snapshots != live and hit(*records.get(me, NOWHERE)):
                pass
            if not singly:
                return off
            records[me] = (code, number, offset)
            return None

        def enter(code: CodeType, _offset: int, exception: BaseException | None = None) -> Any:
            kind = kinds[code.co_filename]
            if kind in {PASSED, OURS}:
                return off if exception is None else None
            if not kind and id(code) not in codes:
                follow(code)
            me, number = get_ident(), getframe(1).f_lineno or 0
            while snapshots != live and hit(*records.get(me, NOWHERE)):
                pass
            if not kind:
                records[me] = (code, number, -1)
            return None

        def leave(code: CodeType, _offset: int, _value: object) -> None:
            if kinds[code.co_filename]:
                return
            me, frame = get_ident(), user_frame(getframe(1).f_back)
            back = (frame.f_code, frame.f_lineno or 0, -1) if frame is not None else NOWHERE
            while snapshots != live and hit(*records.get(me, NOWHERE)):
                pass
            records[me] = back

        events = self._api.events
        return {
            events.LINE: line, events.INSTRUCTION: instruction,
            events.PY_START: enter, events.PY_RESUME: enter, events.PY_THROW: enter,
            events.PY_RETURN: leave, events.PY_YIELD: leave, events.PY_UNWIND: leave,
        }  # fmt: skip

    def _follow(self, code: CodeType) -> None:
        """Have the lines of one code object reported, and its single instructions if it has been to blame before."""
        api, events = self._api, self._api.events
        wanted = events.LINE | events.PY_RETURN | events.PY_YIELD | events.PY_RESUME
        if any(id(code) in codes for codes in list(self._spots.values())):
            wanted |= events.INSTRUCTION
        number = id(code)
        tool = self._tool
        if tool is not None:  # no call until the events are set: whoever ends following takes the tool first
            self._codes[number] = code
            api.set_local_events(tool, code, wanted)

    def _refine(self, code: CodeType, line: int) -> None:
        if self._tool is not None:
            # Instructions of other lines were switched off one by one; off and on again brings this line's back.
            self._api.set_local_events(self._tool, code, 0)
            self._follow(code)

    def _leave(self) -> None:
        tool, self._tool = self._tool, None
        if tool is None:
            return
        self._api.set_events(tool, 0)
        while self._codes:
            self._api.set_local_events(tool, self._codes.popitem()[1], 0)
        events = self._api.events
        for event in (events.LINE, events.INSTRUCTION, events.PY_START, events.PY_RESUME, events.PY_THROW,
                      events.PY_RETURN, events.PY_YIELD, events.PY_UNWIND):  # fmt: skip
            self._api.register_callback(tool, event, None)
        self._api.free_tool_id(tool)
        self._records.clear()

    def _record(self, thread: int) -> Record | None:
        return self._records.get(thread)

    def _untraced(self) -> set[int]:
        return set()

    def _lost(self) -> bool:
        return False
