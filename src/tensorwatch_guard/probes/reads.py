"""Probes of host reads: ``item``, ``bool``, ``float``, ``print`` and functions that must look at data.

A read of a CPU tensor takes the short way: no happening is opened and nothing is timed, because nothing inside can be
watched. Device tensors, subclasses and function modes take the long way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns
from types import BuiltinFunctionType, FrameType, MethodDescriptorType, MethodType
from typing import Any, Final

import torch

from ..collector import Tally
from ..current import LOCAL, PLAIN, Here, Tensor, function_mode_on, is_real, on_cpu
from ..looks import after_read, unnoted
from ..operations import Operation
from ..operations.copies import nbytes_of
from ..routes import Busy, remember
from ..session import SAMPLE, SESSION, Session
from ..sharing.sampling import PASSING, is_often
from ..sites import FILES, USER, Trail
from .happen import Outcome, watched
from .probe import Hook, Maker
from .refusals import refused
from .stand_in import caller, stand_in, strip
from .unseen import unseen

_get_frame: Final = sys._getframe
_BUILTIN: Final = frozenset({BuiltinFunctionType, MethodDescriptorType})
"""Functions in Python call others that are watched, too, which are not to be seen: one happening is one finding."""
_SILENT: Final = frozenset({"Tensor.item"})
"""Reads that never warn of what needs a gradient; ``float`` and its like do so once a process, at the innermost frame."""
_compiler: Final = torch.compiler
_tracing: Final = torch._C._is_tracing


def read(row: Operation) -> Hook:
    """The probe of a read of the tensor itself."""
    return watched(row, _read_outcome)


def read_method(row: Operation) -> Maker | None:
    """What stands for the method itself, for the sake of busy lines. What reads as a whole has none."""
    if row.absorbs:
        return None
    session, local, name, short, warns = SESSION, LOCAL, row.name, _short(row), row.name not in _SILENT

    def made(original: Any) -> Any:
        @unseen
        def method(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            here = local.here
            frame = _get_frame(1)
            busy = here.busy_lines.get((name, id(frame.f_code), frame.f_lasti))
            if (
                busy is None
                or not busy.left
                or here.generation != session.generation
                or type(tensor) not in PLAIN
                or args
                or kwargs
                or function_mode_on()
                or _tracing()
                or (tally := busy.tally or busy.way(2)) is None
                or (session.sharing and not (tally.unnoted and session.pace.eased))
            ):
                return short(original, here, frame, busy, tensor, args, kwargs)
            try:
                needs = warns and tensor.requires_grad
                result = stand_in(frame)(original, (tensor,), kwargs) if needs else original(tensor)
            except Exception as error:
                strip(error)
                refused(row, frame, error, kwargs)
                raise
            busy.left -= 1
            tally.count += 1
            tally.last_step = session.steps.now
            return result

        return method

    return made


def _short(row: Operation) -> Callable[..., Any]:
    """The short way of a read, for tensors in host memory."""
    long_way = watched(row, _read_outcome)
    session, warns = SESSION, row.name not in _SILENT

    @unseen
    def short(original: Any, here: Here, frame: FrameType, busy: Busy | None, tensor: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if (
            type(tensor) not in PLAIN
            or not session.short_reads
            or args
            or kwargs
            or here.busy
            or function_mode_on()
            or (session.devices and not tensor.is_cpu)
            or _compiler._is_compiling_flag
            or _tracing()
        ):
            return long_way(MethodType(original, tensor), tensor, args, kwargs)
        if here.open is not None and here.open.swallows(row, tensor, FILES[frame.f_code.co_filename]):
            return original(tensor)
        sampled = perf_counter_ns() if here.sample else 0
        if sampled:
            sampled -= perf_counter_ns()
        try:
            result = stand_in(frame)(original, (tensor,), kwargs) if warns and tensor.requires_grad else original(tensor)
        except Exception as error:
            strip(error)
            refused(row, frame, error, kwargs)
            raise
        if sampled:
            sampled += perf_counter_ns()
        try:
            tally = None
            if busy is not None and here.generation == session.generation:
                tally = busy.found(3)
            if tally is not None and (count := tally.count + 1) & PASSING:
                tally.count = count
                tally.last_step = session.steps.now
                if session.sharing and not (tally.unnoted and session.pace.eased):
                    _look_once(session, frame, tensor, tally)
            else:
                _told(session, here, row, frame, tensor, tally, tensor.element_size())
            if sampled:
                here.sample = False
                session.timed(sampled, SAMPLE + 1)
        except Exception as error:
            session.fault(row.name, error)
        return result

    return short


def _told(
    session: Session, here: Here, row: Operation, frame: FrameType, tensor: Tensor, guess: Tally | None, unit_bytes: int
) -> None:
    """A read is over: it is walked, counted and looks at memory. ``guess``: the tally that would count it without the walk."""
    code = frame.f_code
    at = None if FILES[code.co_filename] == USER else session.trail(frame)
    # (name, *at.key), without the call
    key = (row.name, id(code), frame.f_lasti) if at is None else (row.name, id(at[0]), at[1], id(at[2]), at[3])
    only = here.only
    tally = None if only is None or here.generation != session.generation or session.grants else only.get(key)
    if tally is None:
        count = _count(session, here, key, row, at or session.trail(frame), unit_bytes)
    else:
        count = tally.count = tally.count + 1
        tally.last_step = session.steps.now
        if count >= tally.sample_at:
            here.sample, tally.sample_at = True, count + SAMPLE + 1
        busy = remember(here.busy_lines, row.name, frame, tally, guess)
        if busy is not None:
            looks = session.devices or (session.sharing and not (tally.unnoted and session.pace.eased))
            busy.settle(tally, may=not looks)
    if session.sharing:
        after_read(session, frame, tensor, at, is_often(count))
    if session.beat_at and perf_counter_ns() > session.beat_at:
        session.pulse()


def _look_once(session: Session, frame: FrameType, tensor: Tensor, tally: Tally) -> None:
    """A busy line looks at the memory at hand; while the pace is eased it does not, which has to be known of it."""
    if session.pace.eased and not session.devices:
        unnoted(session, tally)
    else:
        after_read(session, frame, tensor, None if frame.f_code is tally.trail.code else tally.trail, True)


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
        return tensor.element_size() if row.probe == "read" and not row.absorbs else nbytes_of(tensor)


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

    @unseen
    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        here = local.here
        subject = instance if instance is not None else (args[0] if args else None)
        if (
            type(subject) not in PLAIN
            or session.devices
            or session.every_read
            or (session.sharing and session.memory_strict)
            or here.busy
            or here.open is not None
            or not session.collectors
            or _compiler._is_compiling_flag
            or function_mode_on()
            or _tracing()
            or not is_real(subject)
        ):
            return long_way(wrapped, instance, args, kwargs)
        frame = _get_frame(1)
        here.busy = type(wrapped) not in _BUILTIN
        try:
            result = caller(frame, wrapped)(wrapped, args, kwargs)  # some of these warn
        except Exception as error:
            here.busy = False  # a refusal is told
            strip(error)
            refused(row, frame, error, kwargs)
            raise
        finally:
            here.busy = False
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
    busy = here.busy_lines.get((row.name, id(frame.f_code), frame.f_lasti))
    tally, passes = None, False
    if busy is not None and here.generation == session.generation:
        tally = busy.found(3)
        passes = busy.left > 0
        busy.left -= passes
    if tally is not None and (passes or (tally.count + 1) & PASSING):
        tally.count += 1
        tally.last_step = session.steps.now
        if session.sharing and not (tally.unnoted and session.pace.eased):
            _look_once(session, frame, tensor, tally)
        return
    started = perf_counter_ns()
    _told(session, here, row, frame, tensor, tally, 0)
    session.timed(started)
