"""Probes of host reads: ``item``, ``bool``, ``float``, ``print`` and functions that must look at data.

A read of a CPU tensor takes the short way: no happening is opened and nothing is timed, because nothing inside can be
watched. Device tensors, subclasses and function modes take the long way.
"""

from __future__ import annotations

import sys
from time import perf_counter_ns
from types import BuiltinFunctionType, FrameType, MethodDescriptorType
from typing import Any, Final

import torch

from ..current import LOCAL, PLAIN, Here, Tensor, function_mode_on, is_real, on_cpu
from ..looks import after_read, unnoted
from ..operations import Operation
from ..routes import busy_trail
from ..session import SAMPLE, SESSION, Session
from ..sharing.sampling import PASSING, SEEN_OFTEN, is_often
from ..sites import FILES, USER, Trail
from .happen import Outcome, refused, watched
from .install import Hook
from .stand_in import stand_in, strip

_get_frame: Final = sys._getframe
_BUILTIN: Final = frozenset({BuiltinFunctionType, MethodDescriptorType})
"""Functions in Python call others that are watched, too: one happening has to be open for both."""
_compiler: Final = torch.compiler
_tracing: Final = torch._C._get_tracing_state


def read(row: Operation) -> Hook:
    """The probe of a read of the tensor itself."""
    long_way = watched(row, _read_outcome)
    if row.absorbs:
        return long_way
    session, local, name = SESSION, LOCAL, row.name

    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if type(instance) not in PLAIN or not session.short_reads or function_mode_on():
            return long_way(wrapped, instance, args, kwargs)
        here = local.here
        frame = _get_frame(1)
        code = frame.f_code
        if not instance.is_cpu or here.busy or _compiler._is_compiling_flag or _tracing() is not None:
            return long_way(wrapped, instance, args, kwargs)
        outer = here.open
        if outer is not None and outer.swallows(row, instance, FILES[code.co_filename]):
            return wrapped(*args, **kwargs)
        sampled = perf_counter_ns() if here.sample else 0
        if sampled:
            sampled -= perf_counter_ns()
        try:
            # reading what needs a gradient may warn, at the innermost frame
            result = stand_in(frame)(wrapped, args, kwargs) if instance.requires_grad else wrapped(*args, **kwargs)
        except Exception as error:
            strip(error)
            refused(row, frame, error, kwargs)
            raise
        if sampled:
            sampled += perf_counter_ns()
        try:
            at = None if FILES[code.co_filename] == USER else busy_trail(frame)
            if at is not None and at[0] is None:
                at = session.trail(frame)
            # (name, *at.key), without the call
            key = (name, id(code), frame.f_lasti) if at is None else (name, id(at[0]), at[1], id(at[2]), at[3])
            only = here.only
            tally = None if only is None or here.generation != session.generation or session.grants else only.get(key)
            if tally is None:
                count = _count(session, here, key, row, at or session.trail(frame), instance.element_size())
            else:
                count = tally.count = tally.count + 1
                tally.last_step = session.steps.now
                here.sample = not count & SAMPLE
            if session.sharing:
                often = count > SEEN_OFTEN and count & PASSING != 0
                if often and tally is not None and session.pace.eased and not session.devices:
                    if not tally.unnoted:
                        unnoted(session, tally)
                else:
                    after_read(session, frame, instance, at, often)
            if session.beat_at and perf_counter_ns() > session.beat_at:
                session.pulse()
            if sampled:
                session.timed(sampled, SAMPLE + 1)
        except Exception as error:
            session.fault(name, error)
        return result

    return probe


def _read_outcome(session: Session, outcome: Outcome) -> None:
    """Read or sync, by where the tensor lives."""
    tensor = outcome.subject
    if not isinstance(tensor, Tensor) or not is_real(tensor):
        return
    row = outcome.row
    if on_cpu(tensor) and not outcome.waits:
        tallies = session.emit(
            "read", row.name, outcome.trail, nbytes=_nbytes(tensor, row), implicit=row.implicit, via=outcome.via,
        )
        outcome.peek(tensor, tallies)
        return
    outcome.sync(tensor, nbytes=_nbytes(tensor, row))


def _nbytes(tensor: Tensor, row: Operation) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.element_size() if row.probe == "read" and not row.absorbs else tensor.nbytes


def look(row: Operation) -> Hook:
    """The probe of a function whose result's size or truth depends on the data."""
    when = row.waits_call or row.waits

    def outcome_of(session: Session, outcome: Outcome) -> None:
        arguments = (outcome.subject, *outcome.args) if outcome.method else outcome.args
        tensors = [value for value in (*arguments, *outcome.kwargs.values()) if isinstance(value, Tensor)]
        if not tensors or not all(is_real(tensor) for tensor in tensors):
            return
        if when == "never" or (callable(when) and not when(arguments, outcome.kwargs)):
            return
        device = next((tensor for tensor in tensors if not on_cpu(tensor)), None)
        if device is None and not outcome.waits:
            tallies = session.emit("read", row.name, outcome.trail, implicit=row.implicit, via=outcome.via)
            outcome.peek(tensors[0], tallies)
        else:
            outcome.sync(device if device is not None else tensors[0])

    long_way = watched(row, outcome_of)
    session, local = SESSION, LOCAL

    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        here = local.here
        subject = instance if instance is not None else (args[0] if args else None)
        if (
            type(subject) not in PLAIN
            or type(wrapped) not in _BUILTIN
            or session.devices
            or session.every_read
            or (session.sharing and session.memory_strict)
            or here.busy
            or here.open is not None
            or not session.collectors
            or _compiler._is_compiling_flag
            or function_mode_on()
            or _tracing() is not None
            or not is_real(subject)
        ):
            return long_way(wrapped, instance, args, kwargs)
        frame = _get_frame(1)
        try:
            result = stand_in(frame)(wrapped, args, kwargs)  # some of these warn
        except Exception as error:
            strip(error)
            refused(row, frame, error, kwargs)
            raise
        try:
            if when == "always" or (callable(when) and when(args if instance is None else (instance, *args), kwargs)):
                _looked(session, here, row, frame, subject)
        except Exception as error:
            session.fault(row.name, error)
        return result

    return probe


def _count(session: Session, here: Here, key: tuple[object, ...], row: Operation, at: Trail, unit_bytes: int = 0) -> int:
    """Count a read in every open guard. Returns how often its line has read, 0 where that cannot be said."""
    if here.generation != session.generation or ((grants := session.grants) and grants.get() is not None):
        session.count_read(here, key, row, at, unit_bytes)
        return 0
    count = 0
    for pair in here.shards:
        tally = pair[0].get(key)
        if tally is None:
            session.count_read(here, key, row, at, unit_bytes, (pair,))
            continue
        count = tally.count = tally.count + 1
        tally.last_step = session.steps.now
        here.sample = not count & SAMPLE
        if tally.threads is not None:
            tally.in_task()
    return count


def _looked(session: Session, here: Here, row: Operation, frame: FrameType, tensor: Any) -> None:
    """The short way of a look: counted like a read."""
    started = perf_counter_ns()
    at = session.trail(frame)
    count = _count(session, here, (row.name, id(at[0]), at[1], id(at[2]), at[3]), row, at)
    if session.sharing:
        after_read(session, frame, tensor, at, is_often(count))
    if session.beat_at and started > session.beat_at:
        session.pulse()
    session.timed(started)
