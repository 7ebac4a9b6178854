"""Rows: reading and writing through masks and indices.

Sources: ``expandTensors`` and ``make_info`` in ``TensorAdvancedIndexingUtils.h``, ``canDispatchToMaskedFill``
and ``index_put_`` in ``TensorAdvancedIndexing.cpp``, ``TensorCompare.cpp`` (where). A mask on the device is
turned into positions by ``nonzero``, which waits; an index on the host is copied over first.
"""

from __future__ import annotations

from typing import Any, Final

from .copies import NO_MOVES, argument, operand_moves
from .model import Arguments, Keywords, Move, Operation

_MASKS: Final = ("torch.bool", "torch.uint8")


def _is_mask(index: Any) -> bool:
    return index.element_size() == 1 and str(index.dtype) in _MASKS


def _given(args: Arguments, kwargs: Keywords) -> list[Any]:
    return [index for index in argument(args, kwargs, 1, "indices", ()) if index is not None]


def _fills(args: Arguments, kwargs: Keywords) -> bool:
    """``x[mask] = number`` becomes ``masked_fill``: one device mask, one host element, no accumulation."""
    given, value = _given(args, kwargs), argument(args, kwargs, 2, "values")
    if argument(args, kwargs, 3, "accumulate", False) or not value.is_cpu or value.numel() != 1:
        return False
    return len(given) == 1 and _is_mask(given[0]) and given[0].device == args[0].device


def _masked(args: Arguments, kwargs: Keywords) -> bool:
    return not args[0].is_cpu and any(_is_mask(index) and not index.is_cpu for index in _given(args, kwargs))


def _masked_write(args: Arguments, kwargs: Keywords) -> bool:
    return _masked(args, kwargs) and not _fills(args, kwargs)


def _host_indices(args: Arguments, kwargs: Keywords) -> tuple[Move, ...]:
    """Indices on the host, copied one by one.

    A mask moves as the positions of its true elements: at most eight bytes an axis each.
    """
    if args[0].is_cpu:
        return NO_MOVES
    device, moves = args[0].device, NO_MOVES
    for index in _given(args, kwargs):
        if index.is_cpu:
            moves += operand_moves(
                index, device, index.numel() * index.dim() * 8 if _is_mask(index) else None
            )
    return moves


def _host_indices_and_value(args: Arguments, kwargs: Keywords) -> tuple[Move, ...]:
    if args[0].is_cpu or _fills(args, kwargs):
        return NO_MOVES
    value = argument(args, kwargs, 2, "values")
    return _host_indices(args, kwargs) + (
        operand_moves(value, args[0].device) if value.dim() == 0 else NO_MOVES
    )


def _host_scalars(args: Arguments, _kwargs: Keywords) -> tuple[Move, ...]:
    """``where`` brings 0-d host operands to the device of the others."""
    device = next((tensor.device for tensor in args if not tensor.is_cpu), None)
    if device is None:
        return NO_MOVES
    return tuple(move for tensor in args if tensor.dim() == 0 for move in operand_moves(tensor, device))


INDEXING: Final[tuple[Operation, ...]] = (
    Operation(
        "Tensor.__getitem__",
        overloads=("aten.index.Tensor", "aten.index.Tensor_out", "aten._unsafe_index.Tensor"),
        waits=_masked,
        implicit=True,
        moves=_host_indices,
    ),
    Operation(
        "Tensor.__setitem__",
        overloads=(
            "aten.index_put_.default",
            "aten.index_put.default",
            "aten.index_put.out",
            "aten._index_put_impl_.default",
            "aten._unsafe_index_put.default",
        ),
        waits=_masked_write,
        implicit=True,
        moves=_host_indices_and_value,
        remark="also the backward of x[mask], accumulating",
    ),
    Operation(
        "torch.where",
        overloads=("aten.where.self", "aten.where.self_out"),
        implicit=True,
        moves=_host_scalars,
        remark="TensorCompare.cpp:518; Python numbers become device scalars and do not move",
    ),
)
