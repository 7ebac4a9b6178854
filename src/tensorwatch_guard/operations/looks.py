"""Rows: operations that must look at the data, because their result's size or truth depends on it.

Sources: ``Nonzero.cu``, ``UniqueCub.cu``, ``Repeat.cpp``, ``Bincount``/``SummaryOps.cu``, ``ReduceOps.cpp`` of PyTorch 2.6; PyTorch's own
list ``test/test_torch.py::test_sync_warning``.
"""

from __future__ import annotations

from typing import Final

from .model import Arguments, Keywords, Operation


def _no_output_size(args: Arguments, kwargs: Keywords) -> bool:
    """``repeat_interleave`` with tensor repeats counts them on the host unless ``output_size`` is given."""
    return kwargs.get("output_size") is None


def _one_argument(args: Arguments, kwargs: Keywords) -> bool:
    """``torch.where(condition)`` is ``nonzero``; with three arguments it selects and looks at nothing."""
    return len(args) + len(kwargs) == 1


def _tensor_repeats(args: Arguments, kwargs: Keywords) -> bool:
    repeats = kwargs.get("repeats", args[1] if len(args) > 1 else args[0])
    return not isinstance(repeats, int) and kwargs.get("output_size") is None


LOOKS: Final[tuple[Operation, ...]] = (
    Operation("torch.nonzero", "look", ("torch:nonzero", "torch:Tensor.nonzero"), ("aten.nonzero.default",), "always", implicit=True, absorbs=True),
    Operation("torch.argwhere", "look", ("torch:argwhere", "torch:Tensor.argwhere"), waits="always", implicit=True),
    Operation("torch.where", "look", ("torch:where",), waits="never", waits_call=_one_argument, implicit=True),
    Operation("torch.masked_select", "look", ("torch:masked_select", "torch:Tensor.masked_select"), ("aten.masked_select.default",), "always", implicit=True),
    Operation(
        "torch.unique",
        "look",
        ("torch:unique", "torch:Tensor.unique"),
        ("aten._unique2.default", "aten.unique_dim.default", "aten._unique.default"),
        "always",
        implicit=True,
        absorbs=True,
    ),
    Operation(
        "torch.unique_consecutive",
        "look",
        ("torch:unique_consecutive", "torch:Tensor.unique_consecutive"),
        ("aten.unique_consecutive.default", "aten.unique_dim_consecutive.default"),
        "always",
        implicit=True,
        absorbs=True,
    ),
    Operation("torch.bincount", "look", ("torch:bincount", "torch:Tensor.bincount"), ("aten.bincount.default",), "always", implicit=True),
    Operation(
        "torch.repeat_interleave",
        "look",
        ("torch:repeat_interleave", "torch:Tensor.repeat_interleave"),
        ("aten.repeat_interleave.Tensor",),
        _no_output_size,
        _tensor_repeats,
        implicit=True,
    ),
    Operation("torch.equal", "look", ("torch:equal", "torch:Tensor.equal"), ("aten.equal.default",), "always", implicit=True),
    Operation("torch.allclose", "look", ("torch:allclose", "torch:Tensor.allclose"), ("aten.allclose.default",), "always", implicit=True),
)
