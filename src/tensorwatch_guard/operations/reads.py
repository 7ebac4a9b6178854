"""Rows: the host reads a tensor's values, and explicit waits.

Source of the wait on a device: all scalar reads end in ``aten._local_scalar_dense``, a copy of one element
and a stream synchronize (``aten/src/ATen/native/cuda/CUDAScalar.cu``).
"""

from __future__ import annotations

from typing import Final

from .model import Operation

_SCALAR: Final = ("aten._local_scalar_dense.default",)

READS: Final[tuple[Operation, ...]] = (
    Operation("Tensor.item", "read", ("torch:Tensor.item",), _SCALAR, "always"),
    Operation("Tensor.tolist", "read", ("torch:Tensor.tolist",), waits="always", absorbs=True),
    Operation("Tensor.__bool__", "read", ("torch:Tensor.__bool__",), waits="always", implicit=True),
    Operation("Tensor.__int__", "read", ("torch:Tensor.__int__",), waits="always", implicit=True),
    Operation("Tensor.__float__", "read", ("torch:Tensor.__float__",), waits="always", implicit=True),
    Operation("Tensor.__index__", "read", ("torch:Tensor.__index__",), waits="always", implicit=True),
    Operation("Tensor.__complex__", "read", ("torch:Tensor.__complex__",), waits="always", implicit=True),
    Operation(
        "Tensor.__contains__",
        "read",
        ("torch:Tensor.__contains__",),
        waits="always",
        implicit=True,
        absorbs=True,
        remark="(element == self).any().item(), torch/_tensor.py",
    ),
    Operation(
        "Tensor.__repr__",
        "print",
        ("torch:Tensor.__repr__",),
        waits="always",
        implicit=True,
        absorbs=True,
        remark="masked_select, comparisons and one item() an element shown; invisible to dispatch modes",
    ),
    Operation(
        "Tensor.__format__",
        "print",
        ("torch:Tensor.__format__",),
        waits="always",
        implicit=True,
        absorbs=True,
    ),
    Operation(
        "torch.is_nonzero",
        "look",
        ("torch:is_nonzero", "torch:Tensor.is_nonzero"),
        ("aten.is_nonzero.default",),
        "always",
    ),
)

WAITS: Final[tuple[Operation, ...]] = (
    Operation("torch.cuda.synchronize", "wait", ("torch.cuda:synchronize",), waits="always"),
    Operation("torch.accelerator.synchronize", "wait", ("torch.accelerator:synchronize",), waits="always"),
    Operation("torch.xpu.synchronize", "wait", ("torch.xpu:synchronize",), waits="always"),
    Operation("torch.mps.synchronize", "wait", ("torch.mps:synchronize",), waits="always"),
    Operation("torch.cuda.Stream.synchronize", "wait", ("torch.cuda:Stream.synchronize",), waits="always"),
    Operation("torch.cuda.Event.synchronize", "wait", ("torch.cuda:Event.synchronize",), waits="always"),
    Operation("torch.xpu.Stream.synchronize", "wait", ("torch.xpu:Stream.synchronize",), waits="always"),
    Operation("torch.xpu.Event.synchronize", "wait", ("torch.xpu:Event.synchronize",), waits="always"),
    Operation("torch.cuda.Stream.query", "poll", ("torch.cuda:Stream.query",)),
    Operation("torch.cuda.Event.query", "poll", ("torch.cuda:Event.query",)),
)
