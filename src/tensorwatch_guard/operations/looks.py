"""Rows: operations that must look at the data, because their result's size or truth depends on it.

Sources: ``Nonzero.cu``, ``UniqueCub.cu``, ``Repeat.cpp``, ``Bincount``/``SummaryOps.cu``, ``ReduceOps.cpp``
of PyTorch 2.6; PyTorch's own list ``test/test_torch.py::test_sync_warning``.
"""

from __future__ import annotations

from typing import Final

from .copies import argument
from .model import Arguments, Keywords, Operation


def _no_output_size(_args: Arguments, kwargs: Keywords) -> bool:
    """``repeat_interleave`` with tensor repeats counts them on the host unless ``output_size`` is given."""
    return kwargs.get("output_size") is None


def _unknown_range(args: Arguments, kwargs: Keywords) -> bool:
    """``histc(self, bins, min, max)``: equal bounds ask for the data's own."""
    return bool(argument(args, kwargs, 2, "min", 0) == argument(args, kwargs, 3, "max", 0))


def _long_rows(args: Arguments, kwargs: Keywords) -> bool:
    """``mode`` sorts rows of up to two blocks of 1024 threads in one kernel, longer ones by thrust
    (``TensorModeKernel.cpp``).
    """
    tensor = args[0]
    return bool(tensor.dim() > 0 and tensor.size(argument(args, kwargs, 1, "dim", -1)) > 2048)


def _may_differ(args: Arguments, kwargs: Keywords) -> bool:
    """``equal`` looks at the data unless shapes differ, nothing is there, or both are the same memory
    (``ReduceOps``, ``Equal.cpp``).
    """
    one, other = args[0], argument(args, kwargs, 1, "other")
    if one.shape != other.shape or one.numel() == 0:
        return False
    return one is not other and not (one.data_ptr() == other.data_ptr() and one.stride() == other.stride())


def _one_argument(args: Arguments, kwargs: Keywords) -> bool:
    """``torch.where(condition)`` is ``nonzero``; with three arguments it selects and looks at nothing."""
    return len(args) + len(kwargs) == 1


def _tensor_repeats(args: Arguments, kwargs: Keywords) -> bool:
    repeats = kwargs.get("repeats", args[1] if len(args) > 1 else args[0])
    return not isinstance(repeats, int) and kwargs.get("output_size") is None


def _sorts(args: Arguments, kwargs: Keywords) -> bool:
    """``isin`` compares with few elements one by one; for many it sorts, and calls ``unique`` on both sides
    unless they are said to be unique (``isin_Tensor_Tensor`` in ``TensorCompare.cpp``).
    """
    elements, among = argument(args, kwargs, 0, "elements"), argument(args, kwargs, 1, "test_elements")
    if kwargs.get("assume_unique", False) or not elements.numel():
        return False
    return bool(among.numel() >= int(10 * elements.numel() ** 0.145))


def _checks_lengths(_args: Arguments, kwargs: Keywords) -> bool:
    """Their least and their sum, ``SegmentReduce.cpp``."""
    return kwargs.get("lengths") is not None and not kwargs.get("unsafe", False)


LOOKS: Final[tuple[Operation, ...]] = (
    Operation(
        "torch.nonzero",
        "look",
        ("torch:nonzero", "torch:Tensor.nonzero"),
        ("aten.nonzero",),
        "always",
        implicit=True,
        absorbs=True,
    ),
    Operation(
        "torch.argwhere", "look", ("torch:argwhere", "torch:Tensor.argwhere"), waits="always", implicit=True
    ),
    Operation(
        "torch.where", "look", ("torch:where",), waits="never", waits_call=_one_argument, implicit=True
    ),
    Operation(
        "torch.masked_select",
        "look",
        ("torch:masked_select", "torch:Tensor.masked_select"),
        ("aten.masked_select",),
        "always",
        implicit=True,
    ),
    Operation(
        "torch.unique",
        "look",
        ("torch:unique", "torch:Tensor.unique"),
        ("aten._unique2", "aten.unique_dim", "aten._unique"),
        "always",
        implicit=True,
        absorbs=True,
    ),
    Operation(
        "torch.unique_consecutive",
        "look",
        ("torch:unique_consecutive", "torch:Tensor.unique_consecutive"),
        ("aten.unique_consecutive", "aten.unique_dim_consecutive"),
        "always",
        implicit=True,
        absorbs=True,
    ),
    Operation(
        "torch.bincount",
        "look",
        ("torch:bincount", "torch:Tensor.bincount"),
        ("aten.bincount",),
        "always",
        implicit=True,
    ),
    Operation(
        "torch.repeat_interleave",
        "look",
        ("torch:repeat_interleave", "torch:Tensor.repeat_interleave"),
        ("aten.repeat_interleave.Tensor", "aten.repeat_interleave.Tensor_out"),
        _no_output_size,
        _tensor_repeats,
        implicit=True,
    ),
    Operation(
        "torch.equal",
        "look",
        ("torch:equal", "torch:Tensor.equal"),
        ("aten.equal.default",),
        _may_differ,
        implicit=True,
    ),
    Operation(
        "torch.allclose",
        "look",
        ("torch:allclose", "torch:Tensor.allclose"),
        ("aten.allclose.default",),
        "always",
        implicit=True,
    ),
    Operation(
        "torch.histc",
        "look",
        ("torch:histc", "torch:Tensor.histc"),
        ("aten.histc",),
        _unknown_range,
        implicit=True,
    ),
    Operation("torch.isin", overloads=("aten.isin.Tensor_Tensor",), waits=_sorts, implicit=True),
    Operation(
        "torch.segment_reduce", overloads=("aten.segment_reduce",), waits=_checks_lengths, implicit=True
    ),
    Operation("torch.mode", overloads=("aten.mode",), waits=_long_rows, implicit=True),
)
