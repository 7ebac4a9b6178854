"""How data crosses between devices: the one place that says so.

Pure functions over the arguments of aten overloads. The rules are those of
``aten/src/ATen/native/cuda/Copy.cu``: a copy is asynchronous for the host only if it was asked for, the
host's side is pinned, and no temporary in pageable memory is needed (another dtype, or strides that one block
copy cannot do). ``TensorConversions.cpp`` pins the result of ``.to("cpu", non_blocking=True)`` by itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from .model import Arguments, Keywords, Move

if TYPE_CHECKING:
    from tensorwatch_guard.words import Direction

NO_MOVES: Final[tuple[Move, ...]] = ()


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is a tensor, without importing torch."""
    return hasattr(value, "is_cpu")


def on_device(value: Any) -> bool:
    """Whether ``value`` is a tensor whose memory is not the host's."""
    return getattr(value, "is_cpu", None) is False and not value.is_meta


def argument(args: Arguments, kwargs: Keywords, position: int, name: str, default: Any = None) -> Any:
    """An argument given by position or by name."""
    return args[position] if len(args) > position else kwargs.get(name, default)


def device_name(device: Any) -> str:
    """``cuda:1``; ``cuda`` without an index stands for the current device."""
    if device.index is not None or device.type == "cpu":
        return str(device)
    current = getattr(sys.modules["torch"].get_device_module(device), "current_device", None)
    return f"{device.type}:{current() if current is not None else 0}"


def nbytes_of(tensor: Any) -> int:
    """Bytes of a tensor's values. Sparse and opaque ones do not say; of a sparse one these are the values it holds."""
    try:
        return int(tensor.nbytes)
    except RuntimeError:
        return int((tensor._nnz() if tensor.is_sparse else tensor.numel()) * tensor.element_size())


def move_of(
    source: Any, device: Any, *, into: Any = None, dtype: Any = None, non_blocking: bool = False
) -> Move | None:
    """The move that brings ``source`` to ``device``, or None where nothing crosses (same device, no elements,
    meta).

    Args:
        source: the tensor that is read.
        device: ``torch.device`` of the destination.
        into: the tensor that is written; None where the copy makes a fresh one (``Tensor.to``).
        dtype: the dtype of a fresh destination; None: that of ``source``.
        non_blocking: as the caller asked.
    """
    start, shape = source.device, (source if into is None else into).shape
    if (start.type == device.type and device.index in (None, start.index)) or "meta" in (
        start.type,
        device.type,
    ):
        return None
    elements = shape.numel()
    if elements == 0:
        return None
    wanted = into.dtype if into is not None else dtype or source.dtype
    direction: Direction = "d2d"
    pinned: bool | None = None
    blocking = False
    # A copy that blocks converts on the host, one that does not on the device (``conversion_device`` in Copy.cu).
    itemsize = wanted.itemsize
    if start.type == "cpu":
        direction, pinned = "h2d", source.is_pinned()
        blocking = not (non_blocking and pinned and _readable_as_one_block(source, into))
        itemsize = source.dtype.itemsize if non_blocking else wanted.itemsize
    elif device.type == "cpu":
        direction, pinned = "d2h", non_blocking if into is None else into.is_pinned()
        blocking = not (
            non_blocking
            and pinned
            and (wanted == source.dtype or _contiguous(source, into))
            and _writable_as_one_block(source, into)
        )
        itemsize = wanted.itemsize if non_blocking else source.dtype.itemsize
    return Move(
        direction,
        device_name(start),
        device_name(device),
        elements * itemsize,
        pinned,
        non_blocking,
        blocking,
    )


def _contiguous(source: Any, into: Any) -> bool:
    return bool((source if into is None else into).is_contiguous())


def _readable_as_one_block(source: Any, into: Any) -> bool:
    """Whether host memory goes to the device without a pageable temporary on the way."""
    if into is not None and into.shape != source.shape:
        return False
    return source.is_contiguous() or (_dense(source) and (into is None or into.stride() == source.stride()))


def _writable_as_one_block(source: Any, into: Any) -> bool:
    """Whether device memory lands in the host's destination without a pageable temporary on the way."""
    if into is None:
        return True
    return into.is_contiguous() or (
        into.stride() == source.stride() and into.shape == source.shape and _dense(into)
    )


def _dense(tensor: Any) -> bool:
    """No gaps and no overlaps: the elements' span equals their number."""
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return 0 not in tensor.stride() and span == tensor.numel()


def _some(*moves: Move | None) -> tuple[Move, ...]:
    return tuple(move for move in moves if move is not None)


def to_copy(args: Arguments, kwargs: Keywords) -> tuple[Move, ...]:
    """``_to_copy(self, *, dtype, layout, device, pin_memory, non_blocking, memory_format)``."""
    device = kwargs.get("device")
    if device is None:
        return NO_MOVES
    non_blocking = bool(kwargs.get("non_blocking", False))
    return _some(move_of(args[0], device, dtype=kwargs.get("dtype"), non_blocking=non_blocking))


def copy_into(args: Arguments, kwargs: Keywords) -> tuple[Move, ...]:
    """``copy_(self, src, non_blocking)``."""
    into, source = args[0], argument(args, kwargs, 1, "src")
    return _some(
        move_of(
            source,
            into.device,
            into=into,
            non_blocking=bool(argument(args, kwargs, 2, "non_blocking", False)),
        )
    )


def copy_from(args: Arguments, kwargs: Keywords) -> tuple[Move, ...]:
    """``_copy_from(self, dst, non_blocking)``: what backends other than CUDA end in."""
    source, into = args[0], argument(args, kwargs, 1, "dst")
    return _some(
        move_of(
            source,
            into.device,
            into=into,
            non_blocking=bool(argument(args, kwargs, 2, "non_blocking", False)),
        )
    )


def copy_each(args: Arguments, kwargs: Keywords) -> tuple[Move, ...]:
    """``_foreach_copy_(self, src, non_blocking)``: a copy for each pair."""
    pairs = zip(args[0], argument(args, kwargs, 1, "src"), strict=False)
    non_blocking = bool(argument(args, kwargs, 2, "non_blocking", False))
    return _some(
        *(move_of(source, into.device, into=into, non_blocking=non_blocking) for into, source in pairs)
    )


def lifted(args: Arguments, _kwargs: Keywords) -> tuple[Move, ...]:
    """``lift_fresh`` of a device tensor: the only trace of ``torch.tensor([...], device=...)`` and ``x[[0,
    1]]``.

    C++ builds the values in pageable host memory and copies them with the Python key excluded
    (``tensor_new.cpp``).
    """
    tensor = args[0]
    if not on_device(tensor) or tensor.numel() == 0:
        return NO_MOVES
    return (Move("h2d", "cpu", device_name(tensor.device), nbytes_of(tensor), False, False, True),)


def operand_moves(tensor: Any, device: Any, nbytes: int | None = None) -> tuple[Move, ...]:
    """An operand on the host that a device kernel first brings over with ``.to(device)``; always blocking."""
    if not is_tensor(tensor) or not tensor.is_cpu or tensor.numel() == 0:
        return NO_MOVES
    return (
        Move(
            "h2d",
            "cpu",
            device_name(device),
            nbytes_of(tensor) if nbytes is None else nbytes,
            tensor.is_pinned(),
            False,
            True,
        ),
    )
