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
from ..operations import Operation
from ..session import SAMPLE, SESSION, Session
from ..sharing.sampling import PASSING, SEEN_OFTEN, is_often
from ..sites import FILES, USER
from .happen import Outcome, refused, watched
from .install import Hook
from .stand_in import stand_in, strip

_get_frame: Final = sys._getframe
_optimizer: Final = sys.modules.get("torch.optim.optimizer")  # no attribute of torch.optim
_STEPS_OWN: Final = getattr(getattr(_optimizer, "_get_value", None), "__code__", None)
"""What optimizers read their CPU step counts with, one a parameter. They are added up when the step ends (``spans``)."""
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
        if type(instance) not in PLAIN or session.every_read or not session.collectors or function_mode_on():
            return long_way(wrapped, instance, args, kwargs)
        here = local.here
        if here.stepping is not None and instance.is_cpu and _get_frame(1).f_code is _STEPS_OWN:
            here.step_reads += 1
            return wrapped(*args, **kwargs)
        if not instance.is_cpu or here.busy or _compiler._is_compiling_flag or _tracing() is not None:
            return long_way(wrapped, instance, args, kwargs)
        if session.sharing and session.memory_strict:
            return long_way(wrapped, instance, args, kwargs)
        sampled = perf_counter_ns() if here.sample else 0
        frame = _get_frame(1)
        code = frame.f_code
        kind_of_file = FILES[code.co_filename]
        outer = here.open
        if outer is not None and outer.swallows(row, instance, kind_of_file):
            return wrapped(*args, **kwargs)
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
            at = None if kind_of_file == USER else session.trail(frame)
            # (name, *at.key), without the call
            key = (name, id(code), frame.f_lasti) if at is None else (name, id(at[0]), at[1], id(at[2]), at[3])
            often = False
            if here.generation != session.generation or ((grants := session.grants) and grants.get() is not None):
                session.count_read(here, key, row, at or session.trail(frame), instance.element_size())
            else:
                step = session.steps.now
                for pair in here.shards:
                    tally = pair[0].get(key)
                    if tally is None:
                        session.count_read(here, key, row, at or session.trail(frame), instance.element_size(), (pair,))
                        continue
                    tally.count += 1
                    tally.last_step = step
                    here.sample = not tally.count & SAMPLE
                    often = tally.count > SEEN_OFTEN and tally.count & PASSING != 0
            if session.sharing:
                session.peek(frame, instance, at, often)
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


def _looked(session: Session, here: Here, row: Operation, frame: FrameType, tensor: Any) -> None:
    """The short way of a look: counted like a read."""
    started = perf_counter_ns()
    at, often = session.trail(frame), False
    key = (row.name, id(at[0]), at[1], id(at[2]), at[3])
    if here.generation != session.generation or ((grants := session.grants) and grants.get() is not None):
        session.count_read(here, key, row, at)
    else:
        for pair in here.shards:
            tally = pair[0].get(key)
            if tally is None:
                session.count_read(here, key, row, at, shards=(pair,))
                continue
            tally.count += 1
            tally.last_step = session.steps.now
            if tally.threads is not None:
                tally.in_task()
            often = is_often(tally.count)
    if session.sharing:
        session.peek(frame, tensor, at, often)
    if session.beat_at and started > session.beat_at:
        session.pulse()
    session.timed(started)
