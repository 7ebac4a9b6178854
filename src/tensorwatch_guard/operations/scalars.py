"""Rows: a kernel needs a number that stands in a tensor, and reads it on the host.

The neighbours that need not are in ``never.py``.
"""

from __future__ import annotations

from typing import Final

from .copies import argument, on_device
from .model import Arguments, Keywords, Operation


def _device_value(args: Arguments, kwargs: Keywords) -> bool:
    """``masked_fill(self, mask, value)``: ``value.item()``, a wait only where the value is on the device."""
    return on_device(argument(args, kwargs, 2, "value"))


def _device_fill(args: Arguments, kwargs: Keywords) -> bool:
    return on_device(argument(args, kwargs, 3, "value"))


def _device_bound(args: Arguments, kwargs: Keywords) -> bool:
    return on_device(argument(args, kwargs, 0, "start")) or on_device(argument(args, kwargs, 1, "end"))


def _device_deviation(args: Arguments, kwargs: Keywords) -> bool:
    std = argument(args, kwargs, 1, "std")
    return on_device(std) and std.numel() > 0


_BOUNDS: Final = (
    "Tensor_Tensor",
    "Tensor_Scalar",
    "Scalar_Tensor",
    "Tensor_Tensor_out",
    "Tensor_Scalar_out",
    "Scalar_Tensor_out",
)

SCALARS: Final[tuple[Operation, ...]] = (
    Operation(
        "Tensor.masked_fill",
        overloads=("aten.masked_fill.Tensor", "aten.masked_fill_.Tensor", "aten.masked_fill.Tensor_out"),
        waits=_device_value,
        implicit=True,
        remark="value.item(), cuda/Indexing.cu:1737",
    ),
    Operation(
        "Tensor.index_fill",
        overloads=(
            "aten.index_fill.int_Tensor",
            "aten.index_fill_.int_Tensor",
            "aten.index_fill.int_Tensor_out",
        ),
        waits=_device_fill,
        implicit=True,
        remark="value.item(), TensorAdvancedIndexing.cpp:1556",
    ),
    Operation(
        "torch.linspace",
        overloads=tuple(f"aten.linspace.{kind}" for kind in _BOUNDS),
        waits=_device_bound,
        implicit=True,
        remark="start.item(), RangeFactories.cpp",
    ),
    Operation(
        "torch.logspace",
        overloads=tuple(f"aten.logspace.{kind}" for kind in _BOUNDS),
        waits=_device_bound,
        implicit=True,
        remark="start.item(), RangeFactories.cpp",
    ),
    Operation(
        "torch.normal",
        overloads=(
            "aten.normal.Tensor_Tensor",
            "aten.normal.float_Tensor",
            "aten.normal.Tensor_Tensor_out",
            "aten.normal.float_Tensor_out",
        ),
        waits=_device_deviation,
        implicit=True,
        remark="std.min().ge(0).item(), DistributionTemplates.h:195",
    ),
)
