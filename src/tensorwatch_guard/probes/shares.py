"""Probes of calls that hand out memory: is it shared, or was it copied?

Decided after the call, by where the result's memory lies, never by the function's name: ``as_tensor`` and
``torch.Tensor(array)`` share or copy by dtype, ``__array__`` by what NumPy asked for.
"""

from __future__ import annotations

import sys
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from ..current import LOCAL, PLAIN, Tensor, function_mode_on, is_real, on_cpu
from ..operations import Operation
from ..routes import busy_trail
from ..session import SESSION, Session
from ..sharing.attention import EVERYWHERE
from ..sharing.owners import (
    BorrowedOwner,
    Owner,
    StorageOwner,
    array_owner,
    is_file_backed,
    last_array,
    region_of,
)
from ..sites import FILES, OWN, USER
from .happen import Outcome, refused, watched
from .install import Hook
from .moves import transfer
from .patterns import PATTERNS
from .stand_in import stand_in, strip

if TYPE_CHECKING:
    from types import FrameType

    from ..memory import Memory

_get_frame: Final = sys._getframe
_compiler: Final = torch.compiler
_tracing: Final = torch._C._get_tracing_state
_TO_HOST: Final = "tensor->array"
_TO_TENSOR: Final = "array->tensor"
_TO_BUFFER: Final = "tensor->buffer"
_FROM_BUFFER: Final = "buffer->tensor"
UNTIMED: Final = 63
"""Of aliases that are only counted one in so many and one is timed, and lets those who wait for a time have their turn."""


def share(row: Operation) -> Hook:
    """``numpy``, ``__array__``, ``from_numpy``, ``frombuffer``, DLPack both ways."""
    long_way = watched(row, _handed_out)
    if row.name == "Tensor.numpy":
        return _short(row, long_way, to_array=True)
    if row.name == "torch.from_numpy":
        return _short(row, long_way, to_array=False)
    return long_way


def _short(row: Operation, long_way: Hook, *, to_array: bool, keywords: bool = False) -> Hook:
    """Small plain memory: counted and put into the nursery, no happening is opened."""
    session, local, name = SESSION, LOCAL, row.name
    direction = _TO_HOST if to_array else _TO_TENSOR

    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        here = local.here
        memory = session.memory
        if (
            not session.short_shares
            or (kwargs and (not keywords or (session.devices and "device" in kwargs)))
            or (keywords and len(args) > 1 and session.devices)
            or (type(instance) not in PLAIN or args if to_array else not args or type(args[0]) is not np.ndarray)
            or (session.grants is not None and session.grants.get() is not None)
            or here.busy
            or here.open is not None
            or memory is None
            or session.flying
            or _compiler._is_compiling_flag
            or function_mode_on()
            or _tracing() is not None
        ):
            return long_way(wrapped, instance, args, kwargs)
        frame = _get_frame(1)
        if memory.attention.awake and _is_followed(memory, frame):
            return long_way(wrapped, instance, args, kwargs)
        try:
            # of a read-only array PyTorch warns, at the innermost frame
            quiet = to_array or args[0].flags.writeable
            result = wrapped(*args, **kwargs) if quiet else stand_in(frame)(wrapped, args, kwargs)
        except Exception as error:
            strip(error)
            refused(row, frame, error, kwargs)
            raise
        try:
            # memory of torch's own is resizable: then it was copied
            tensor = result.base if to_array else result
            nbytes = result.nbytes
            if type(tensor) is not Tensor or not nbytes or (keywords and result.untyped_storage().resizable()):
                return result
            code = frame.f_code
            at = None if FILES[code.co_filename] == USER else busy_trail(frame)
            if at is not None and at[0] is None:
                at = session.trail(frame)
            # (name, *at.key), without the call
            key = (name, id(code), frame.f_lasti) if at is None else (name, id(at[0]), at[1], id(at[2]), at[3])
            only = here.only
            tally = None if only is None or here.generation != session.generation else only.get(key)
            if tally is not None and tally.threads is None:
                count = tally.count + 1
                if count < tally.watch_at and count & UNTIMED:  # one of the many of a busy line
                    tally.count = count
                    tally.passed += 1
                    tally.nbytes += nbytes
                    tally.last_step = session.steps.now
                    return result
            here.busy, started = True, perf_counter_ns()
            array, seen = (None, instance) if to_array else (args[0], result)
            watched = memory.born(here, row, direction, key, at or (code, frame.f_lasti), tensor, array, seen)
            here.busy = False
            if session.beat_at and started > session.beat_at:
                session.pulse()
            session.timed(started, 1 if watched else UNTIMED + 1)
        except Exception as error:
            session.fault(name, error)
        finally:
            here.busy = False
        return result

    return probe


def _is_followed(memory: Memory, frame: FrameType) -> bool:
    """Whether what is handed out there is followed, or an interval that is followed ends there."""
    try:
        attention = memory.attention
        return attention.places is EVERYWHERE or attention.is_for(SESSION.trail(frame).key)
    except Exception as error:
        SESSION.fault("share", error)
        return True


def build(row: Operation) -> Hook:
    """``torch.tensor``, ``as_tensor``, ``asarray``, ``torch.Tensor(...)``: shares, copies or moves."""
    long_way = watched(row, _built)
    if row.name == "torch.tensor":
        return _copying(row, long_way)
    if row.name == "torch.Tensor":  # __new__ gets the class first
        return _copying(row, long_way, of=frozenset({list, tuple, int}), position=1)
    if row.name == "torch.as_tensor":
        return _short(row, _copying(row, long_way, of=PLAIN), to_array=False, keywords=True)
    return long_way


def _copying(row: Operation, long_way: Hook, of: frozenset[type] | None = None, position: int = 0) -> Hook:
    """What copies, or hands back the same tensor, is nothing to tell where nothing can move.

    ``of``: only of such arguments, of which the first is at ``position``.
    """
    session, local = SESSION, LOCAL

    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if (
            session.devices
            or len(args) <= position
            or (of is not None and type(args[position]) not in of)
            or (isinstance(args[position], Tensor) and type(args[position]) not in PLAIN)
            or local.here.open is not None
            or function_mode_on()
            or _compiler._is_compiling_flag
            or _tracing() is not None
        ):
            return long_way(wrapped, instance, args, kwargs)
        frame = _get_frame(1)
        while FILES[frame.f_code.co_filename] == OWN and frame.f_back is not None:
            frame = frame.f_back  # a short way's probe sent it here
        try:
            return stand_in(frame)(wrapped, args, kwargs)
        except Exception as error:
            strip(error)
            if not local.here.busy and session.collectors:
                refused(row, frame, error, kwargs)
            raise

    return probe


def _handed_out(session: Session, outcome: Outcome) -> None:
    result, subject = outcome.result, outcome.subject
    if isinstance(result, np.ndarray):
        _to_array(session, outcome, subject, result)
    elif isinstance(result, Tensor):
        _to_tensor(session, outcome, outcome.args[0] if outcome.args else next(iter(outcome.kwargs.values()), None), result)
    elif isinstance(subject, Tensor) and is_real(subject) and on_cpu(subject):  # a capsule
        _tell(session, outcome, _TO_BUFFER, subject, None, lambda: StorageOwner(subject.untyped_storage()))


def _to_array(session: Session, outcome: Outcome, tensor: Tensor, array: np.ndarray[Any, Any]) -> None:
    if not is_real(tensor):
        return
    if not on_cpu(tensor):
        with torch._C.DisableTorchFunction():
            outcome.crossed("d2h", tensor.device, tensor.nbytes)  # ``numpy(force=True)``
        return
    base: Any = last_array(array).base
    if not isinstance(base, Tensor):
        return  # copied: astype, force
    with torch._C.DisableTorchFunction():
        if base.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr():
            return
    if session.flying and session.memory is not None:
        session.memory.hazards.in_flight.handed_out(tensor, outcome.trail)
    _tell(session, outcome, _TO_HOST, tensor, base, lambda: StorageOwner(base.untyped_storage()))


def _built(session: Session, outcome: Outcome) -> None:
    result = outcome.result
    args = outcome.args[1:] if outcome.row.name == "torch.Tensor" else outcome.args  # __new__ gets the class first
    data = args[0] if args else next(iter(outcome.kwargs.values()), None)
    if not isinstance(result, Tensor) or not is_real(result):
        return
    if not on_cpu(result):
        _built_on_device(session, outcome, data, result)
    elif isinstance(data, Tensor):
        if session.devices and is_real(data) and not on_cpu(data):
            transfer(session, outcome, data, result, None, False)
    else:
        _to_tensor(session, outcome, data, result)


def _built_on_device(session: Session, outcome: Outcome, data: Any, result: Tensor) -> None:
    if isinstance(data, Tensor):
        if is_real(data):
            transfer(session, outcome, data, result, None, False)
        return
    if result.is_meta or result.numel() == 0 or (outcome.row.name == "torch.Tensor" and not _is_data(data)):
        return
    if isinstance(data, list | tuple) and any(isinstance(value, Tensor) and not on_cpu(value) for value in data):
        outcome.sync(result)
        return
    tallies = outcome.crossed("h2d", result.device, result.nbytes)
    PATTERNS.built(session, data, outcome.trail, tallies)


def _is_data(value: object) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _to_tensor(session: Session, outcome: Outcome, source: Any, tensor: Tensor) -> None:
    """Whether a tensor made of host data shares its memory."""
    if source is None or isinstance(source, Tensor | list | tuple | int | float | bool | complex):
        return
    if not is_real(tensor) or not on_cpu(tensor):
        return
    with torch._C.DisableTorchFunction():
        storage = tensor.untyped_storage()
        if storage.resizable() or tensor.numel() == 0:
            return  # memory of torch's own: copied
    array = source if isinstance(source, np.ndarray) else None
    if array is None and not isinstance(source, bytes | bytearray | memoryview) and hasattr(source, "__array_interface__"):
        array = np.asarray(source)
    if array is not None:
        if not _lies_in(tensor, array):
            return
        backed = is_file_backed(array)
        _tell(session, outcome, _TO_TENSOR, tensor, None, lambda: _owner(source, array, storage), backed)
        return
    _tell(session, outcome, _FROM_BUFFER, tensor, None, lambda: BorrowedOwner(storage, source))


def _owner(source: Any, array: np.ndarray[Any, Any], storage: torch.UntypedStorage) -> Owner:
    """An array that torch was given itself is held by the storage; one that only stands for a buffer is not."""
    return array_owner(array, storage) if array is source else BorrowedOwner(storage, source)


def _lies_in(tensor: Tensor, array: np.ndarray[Any, Any]) -> bool:
    start: int = array.__array_interface__["data"][0]
    return start <= tensor.data_ptr() < start + max(array.nbytes, 1) or tensor.data_ptr() == start


def _tell(
    session: Session, outcome: Outcome, direction: str, tensor: Tensor, side: Tensor | None, owner: Any, backed: bool = False
) -> None:
    with torch._C.DisableTorchFunction():
        if tensor.numel() == 0 or tensor.layout is not torch.strided:
            return
        region = region_of(tensor)
        if session.memory is not None:
            session.memory.shared(outcome.row, outcome.trail, direction, tensor, region, owner, side, backed)
