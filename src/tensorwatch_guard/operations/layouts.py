"""Rows: sparse and nested tensors.

Their sizes depend on the data. Thrust's own waits are unseen by
``set_sync_debug_mode``.
"""

from __future__ import annotations

from typing import Final

from .model import Operation

LAYOUTS: Final[tuple[Operation, ...]] = (
    Operation(
        "Tensor.to_sparse",
        overloads=("aten._to_sparse",),
        waits="always",
        implicit=True,
        remark="nonzero of the values",
    ),
    Operation(
        "Tensor.coalesce",
        overloads=("aten._coalesce",),
        waits="always",
        implicit=True,
        remark="thrust::unique",
    ),
    Operation(
        "Tensor.to_sparse_csr",
        overloads=(
            "aten._to_sparse_csr",
            "aten._to_sparse_csc",
            "aten._to_sparse_bsr",
            "aten._to_sparse_bsc",
        ),
        waits="always",
        implicit=True,
        remark="nonzero of the values",
    ),
    Operation(
        "torch.nested.nested_tensor",
        overloads=("aten._nested_tensor_from_mask", "aten._nested_tensor_from_mask_left_aligned"),
        waits="always",
        implicit=True,
        remark="sizes go to the host; TransformerEncoder's fast path with a padding mask",
    ),
)
