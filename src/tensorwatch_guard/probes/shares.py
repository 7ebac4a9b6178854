"""Probes of calls that hand out memory: is it shared, or was it copied?

Decided after the call, by where the result's memory lies, never by the function's name: ``as_tensor`` and
``torch.Tensor(array)`` share or copy by dtype, ``__array__`` by what NumPy asked for.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from ..current import LOCAL, PLAIN, Tensor, is_real, on_cpu
from ..operations import Operation
from ..operations.copies import nbytes_of
from ..session import Session
from ..sharing.owners import (
    BorrowedOwner,
    ExportedOwner,
    Owner,
    StorageOwner,
    array_owner,
    is_file_backed,
    last_array,
    region_of,
)
from .happen import Outcome, host_tensor, watched
from .moves import transfer
from .patterns import PATTERNS
from .probe import Hook, Maker
from .refusals import became
from .short_shares import TO_HOST, TO_TENSOR, copied, copying, from_array, to_array_method

_TO_BUFFER: Final = "tensor->buffer"
_FROM_BUFFER: Final = "buffer->tensor"


def share(row: Operation) -> Hook:
    """``numpy``, ``__array__``, ``from_numpy``, ``frombuffer``, DLPack both ways."""
    return watched(row, _handed_out)


def share_directly(row: Operation) -> Maker | None:
    """What stands for ``numpy`` and ``from_numpy`` themselves, for the sake of busy lines."""
    if row.name == "Tensor.numpy":
        return to_array_method(row, watched(row, _handed_out))
    return from_array(row, watched(row, _handed_out)) if row.name == "torch.from_numpy" else None


def build(row: Operation) -> Hook:
    """``torch.tensor``, ``as_tensor``, ``asarray``, ``torch.Tensor(...)``: shares, copies or moves."""
    long_way = watched(row, _built)
    if row.name == "torch.Tensor":  # __new__ gets the class first
        return copying(row, long_way, of=frozenset({list, tuple, int}), position=1)
    return long_way


def build_directly(row: Operation) -> Maker | None:
    """What stands for ``torch.tensor`` and ``as_tensor`` themselves."""
    long_way = watched(row, _built)
    if row.name == "torch.tensor":
        return copied(copying(row, long_way), row)
    if row.name == "torch.as_tensor":
        return from_array(row, copying(row, long_way, of=PLAIN), keywords=True)
    return None


def _handed_out(session: Session, outcome: Outcome) -> None:
    result, subject = outcome.result, outcome.subject
    became(outcome.row, outcome.trail)
    if isinstance(result, np.ndarray):
        _to_array(session, outcome, subject, result)
    elif isinstance(result, Tensor):
        _to_tensor(session, outcome, outcome.args[0] if outcome.args else next(iter(outcome.kwargs.values()), None), result)
    elif host_tensor(subject) and subject.data_ptr() and not outcome.kwargs.get("copy"):  # a capsule
        _tell(session, outcome, _TO_BUFFER, subject, None, lambda: ExportedOwner(subject.untyped_storage()))


def _to_array(session: Session, outcome: Outcome, tensor: Tensor, array: np.ndarray[Any, Any]) -> None:
    if not is_real(tensor):
        return
    if not on_cpu(tensor):
        with torch._C.DisableTorchFunction():
            outcome.crossed("d2h", tensor.device, nbytes_of(tensor))  # ``numpy(force=True)``
        return
    base: Any = last_array(array).base
    if not isinstance(base, Tensor):
        return  # copied: astype, force
    with torch._C.DisableTorchFunction():
        if base.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr():
            return
    if session.flying and session.memory is not None:
        session.memory.hazards.in_flight.handed_out(tensor, outcome.trail)
    _tell(session, outcome, TO_HOST, tensor, base, lambda: StorageOwner(base.untyped_storage()))


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
        if LOCAL.here.told == outcome.told:  # their reads, one by one, are told already
            outcome.sync(result)
        outcome.nanoseconds = 0  # and it is these that the host waited in
    tallies = outcome.crossed("h2d", result.device, nbytes_of(result))
    PATTERNS.built(session, data, outcome.trail, tallies)


def _is_data(value: object) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _to_tensor(session: Session, outcome: Outcome, source: Any, tensor: Tensor) -> None:
    """Whether a tensor made of host data shares its memory."""
    if source is None or isinstance(source, list | tuple | int | float | bool | complex):
        return
    if not is_real(tensor) or not on_cpu(tensor):
        return
    if isinstance(source, Tensor):
        if outcome.row.name == "torch.from_dlpack" and session.sharing and session.memory is not None:
            session.memory.writes.twin(tensor)  # of the same memory, with a counter of its own
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
        _tell(session, outcome, TO_TENSOR, tensor, None, lambda: _owner(source, array, storage), backed)
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
