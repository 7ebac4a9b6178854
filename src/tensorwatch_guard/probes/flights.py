"""Probes of what touches host memory while a copy from or to it is under way: see ``in_flight.py``.

Calls that write in place are watched from the first such copy on; the ops layer sees every operation, also those that only
read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from ..current import LOCAL, PLAIN
from ..operations import Operation
from ..session import SESSION, Session
from .compensation import Argument, tensors_at, written_arguments
from .happen import Outcome, contained, host_tensor, is_device, watched
from .probe import Hook
from .unseen import unseen

if TYPE_CHECKING:
    from ..in_flight import Pending
    from .plans import Plan

_get_frame: Final = sys._getframe
_SHAPES: Final = re.compile(r"(new_|_?is_|set_|_?resize|sym_|record_stream|size|stride|storage_offset).*|.*_like")
"""Names of operations that ask a tensor for its shape and the like."""


def before_write(session: Session, outcome: Outcome) -> None:
    """Host memory is about to be written in place: are there copies under way from it?"""
    memory = session.memory
    if session.flying and memory is not None and host_tensor(outcome.subject):
        outcome.happening.data = memory.hazards.in_flight.before_write(outcome.subject)


def after_write(session: Session, outcome: Outcome) -> None:
    """The sources of copies under way that were written by this call are told."""
    if outcome.happening.data and session.memory is not None:
        session.memory.hazards.in_flight.written(outcome.happening.data, outcome.trail)


def write(row: Operation) -> Hook:
    """A call that writes in place."""
    long_way = watched(row, after_write, before_write, refusals=False)
    session = SESSION

    @unseen
    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not session.flying or type(instance) not in PLAIN:
            return wrapped(*args, **kwargs)
        return long_way(wrapped, instance, args, kwargs)

    return probe


class Passing:
    """An operation that the ops layer sees while copies are under way."""

    __slots__ = ("args", "kwargs", "plan", "sources", "trail")

    def __init__(self, plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.plan = plan
        self.args = args
        self.kwargs = kwargs
        self.trail = SESSION.trail(_get_frame(1))
        self.sources: list[Pending] = []


def follow(plan: Plan, run: Callable[[Any, Any, Any], Any], types: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation: what it reads must have arrived, and what it writes must have left."""
    __tracebackhide__ = True
    session = SESSION
    if LOCAL.here.busy or not session.collectors or plan.reads_nothing:
        return run(types, args, kwargs)
    passing = None
    try:
        passing = Passing(plan, args, kwargs)
    except Exception as error:
        session.fault(plan.name, error)
    if passing is None:
        return run(types, args, kwargs)
    violation = contained(session, plan.name, _before, passing)
    if violation is not None:
        raise violation
    result = run(types, args, kwargs)
    violation = contained(session, plan.name, _after, passing) if passing.sources else None
    if violation is not None:
        raise violation
    return result


def reads_nothing(func: Any) -> bool:
    """Whether an operation only looks at shapes, or hands out the same memory."""
    if not isinstance(func, torch._ops.OpOverload):
        return True
    return func.is_view or _SHAPES.fullmatch(func._schema.name.partition("::")[2]) is not None


def _before(session: Session, passing: Passing) -> None:
    memory = session.memory
    arguments = [Argument(at, one.name) for at, one in enumerate(passing.plan.func._schema.arguments)]
    given = tensors_at(arguments, passing.args, passing.kwargs)
    if memory is None or any(map(is_device, given)):  # one stream does one thing after the other
        return
    in_flight, written = memory.hazards.in_flight, written_arguments(passing.plan.func)
    for tensor in filter(host_tensor, tensors_at(written, passing.args, passing.kwargs)):
        passing.sources += in_flight.before_write(tensor)
    read = [argument for argument in arguments if argument not in written]
    for tensor in filter(host_tensor, tensors_at(read, passing.args, passing.kwargs)):
        in_flight.read(tensor, passing.trail)


def _after(session: Session, passing: Passing) -> None:
    if session.memory is not None:
        session.memory.hazards.in_flight.written(passing.sources, passing.trail)
