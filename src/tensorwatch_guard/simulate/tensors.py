"""The two faces of one memory: a ``cuda`` tensor and its twin, a CPU tensor over the same bytes.

A device tensor that a kernel made keeps its twin on its storage. Tensors with another geometry (views, and
whatever was given other sizes in place) get a twin made for the one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from .device import on_device, on_host
from .refusal import cannot

if TYPE_CHECKING:
    from collections.abc import Callable

CPU: Final = torch.device("cpu")
ON_CPU: Final = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_aten: Final = torch.ops.aten


def host_kernel(overload: Any) -> Callable[..., torch.Tensor]:
    """The straight way to a kernel: ``call(ON_CPU, *args)`` asks no mode, no torch function and no autograd."""
    return overload._handle.redispatch_boxed  # type: ignore[no-any-return]


_set = host_kernel(_aten.set_.source_Storage_storage_offset)
_conj = host_kernel(_aten._conj.default)
_neg = host_kernel(_aten._neg_view.default)
_empty = host_kernel(_aten.empty.memory_format)
_empty_strided = host_kernel(_aten.empty_strided.default)
_copy = host_kernel(_aten.copy_.default)
_narrow = host_kernel(_aten.narrow.default)


def to_device(twin: torch.Tensor, index: int) -> torch.Tensor:
    """The device tensor over the memory of a CPU tensor, on device number ``index``."""
    try:
        tensor = on_device(twin, index)
    except (RuntimeError, BufferError) as error:
        raise cannot(f"{twin.layout} tensors of {twin.dtype}") from error
    if twin.is_complex() and twin.is_conj():
        return _conj(ON_CPU, tensor)
    if twin.is_contiguous():
        # The storage is as long as these sizes ask for: a tensor on it with the same sizes starts where it starts.
        # One attribute and no tuple: whatever lives as long as a tensor is walked by the garbage collector.
        storage: Any = tensor.untyped_storage()
        storage.twin = twin
    return tensor


def to_host(tensor: Any) -> torch.Tensor:
    """The CPU tensor over the memory of a device tensor."""
    storage: Any = tensor.untyped_storage()
    try:
        twin: torch.Tensor = storage.twin
    except AttributeError:
        return fresh_twin(tensor)
    if (
        tensor.shape == twin.shape
        and tensor.dtype is twin.dtype
        and tensor.is_contiguous()
        and not tensor.is_conj()
    ):
        return twin
    return fresh_twin(tensor)


def fresh_twin(tensor: torch.Tensor) -> torch.Tensor:
    """A twin of its own, whose storage cannot grow: a kernel that would resize it says so instead."""
    twin = on_host(tensor)
    if tensor.dtype.is_complex and tensor.is_conj():
        twin = _conj(ON_CPU, twin)
    if tensor.is_neg():
        twin = _neg(ON_CPU, twin)
    return twin


def neg_view(tensor: torch.Tensor) -> torch.Tensor:
    """``_neg_view``: the one view with the same sizes and other values, so the twin is given up."""
    vars(tensor.untyped_storage()).pop("twin", None)
    return _neg(ON_CPU, tensor)


def empty(
    size: Any,
    *,
    index: int,
    dtype: torch.dtype | None = None,
    memory_format: Any = None,
    strides: Any = None,
) -> torch.Tensor:
    """A new device tensor without values: what all factories begin with."""
    if strides is None:
        return to_device(_empty(ON_CPU, size, dtype=dtype, device=CPU, memory_format=memory_format), index)
    return to_device(_empty_strided(ON_CPU, size, strides, dtype=dtype, device=CPU), index)


def device_storage(host: torch.UntypedStorage, index: int) -> torch.UntypedStorage:
    """A ``cuda`` storage over the memory of a CPU storage, which it keeps alive."""
    build: Callable[..., Any] = torch._C._construct_storage_from_data_pointer
    storage: torch.UntypedStorage = build(host.data_ptr(), torch.device("cuda", index), host.nbytes())
    vars(storage)["host"] = host  # an attribute of a storage lives as long as the C++ storage does
    return storage


def move_into(tensor: torch.Tensor, twin: torch.Tensor, index: int) -> None:
    """Give a device tensor the sizes and the memory of ``twin``: what a resized ``out=`` comes to."""
    storage = device_storage(twin.untyped_storage(), index)
    _set(ON_CPU, tensor, storage, twin.storage_offset(), twin.shape, twin.stride())


def resize(tensor: torch.Tensor, size: Any, *, memory_format: Any = None) -> torch.Tensor:
    """``resize_``: other sizes on the same memory, or on longer memory with the old contents.

    Where the memory must grow, other views keep the old memory; on a real device they would follow.
    """
    size = tuple(size)
    model = _empty(ON_CPU, size, dtype=tensor.dtype, device=CPU, memory_format=memory_format)
    storage, offset = tensor.untyped_storage(), tensor.storage_offset()
    need = model.untyped_storage().nbytes() + offset * tensor.element_size() if model.numel() else 0
    if need > storage.nbytes():
        held = _view_as_bytes(storage)
        longer = _empty(ON_CPU, (need,), dtype=torch.uint8, device=CPU)
        _copy(ON_CPU, _narrow(ON_CPU, longer, 0, 0, held.numel()), held)
        storage = device_storage(longer.untyped_storage(), tensor.get_device())
    _set(ON_CPU, tensor, storage, offset, size, model.stride())
    return tensor


def _view_as_bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    device = storage.device
    whole = _empty(ON_CPU, (0,), dtype=torch.uint8, device=CPU)
    there = on_device(whole, device.index or 0)
    _set(ON_CPU, there, storage, 0, (storage.nbytes(),), (1,))
    return on_host(there)
