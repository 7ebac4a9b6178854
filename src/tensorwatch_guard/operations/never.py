"""Rows: operations one could suspect, and which wait for nothing on CUDA. They are here so that the answer is
on record.

Sources: PyTorch's own list ``test_sync_warning``, the CUDA sources of 2.6; an overload that is in no row does
not wait either.
"""

from __future__ import annotations

from typing import Final

from .model import Operation


def _free(name: str, *overloads: str, remark: str = "") -> Operation:
    return Operation(name, overloads=overloads, waits="never", remark=remark)


NEVER: Final[tuple[Operation, ...]] = (
    _free("torch.nonzero_static", "aten.nonzero_static", remark="the size is given"),
    _free("torch.any", "aten.any", remark="mended after pytorch issue 84291"),
    _free("torch.all", "aten.all"),
    _free("torch.topk", "aten.topk"),
    _free("torch.sort", "aten.sort"),
    _free("torch.kthvalue", "aten.kthvalue"),
    _free("torch.median", "aten.median"),
    _free("torch.searchsorted", "aten.searchsorted"),
    _free("torch.bucketize", "aten.bucketize"),
    _free("torch.randperm", "aten.randperm"),
    _free("torch.multinomial", "aten.multinomial", remark="checks with _assert_async"),
    _free("Tensor.masked_scatter", "aten.masked_scatter", "aten.masked_scatter_"),
    _free("Tensor.masked_fill", "aten.masked_fill.Scalar", "aten.masked_fill_.Scalar"),
    _free("Tensor.index_fill", "aten.index_fill.int_Scalar", "aten.index_fill_.int_Scalar"),
    _free(
        "Tensor.fill_",
        "aten.fill_.Tensor",
        remark="a device value is copied on the device, a host value is read where it is",
    ),
    _free("Tensor.lerp", "aten.lerp", "aten.lerp_"),
    _free(
        "torch._foreach_mul",
        "aten._foreach_mul.Tensor",
        "aten._foreach_mul_.Tensor",
        "aten._foreach_div.Tensor",
        "aten._foreach_div_.Tensor",
        remark="a scalar tensor is read on the host only where it is on the CPU, which is no wait",
    ),
    _free(
        "torch.embedding_renorm_", "aten.embedding_renorm_", remark="cub since 2.0; older ones used thrust"
    ),
    _free(
        "Tensor.tensor_split",
        "aten.tensor_split.tensor_indices_or_sections",
        remark="takes host tensors only",
    ),
    _free("torch.linalg.qr", "aten.linalg_qr"),
    _free("torch.linalg.det", "aten._linalg_det", "aten._linalg_slogdet"),
)
