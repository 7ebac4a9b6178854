"""Rows: parameters, moments and statistics that are written while the schema or the version counter is
silent.

Measured on torch 2.13 (CPU): fused optimizers and the AMP unscale leave ``_version`` as it was; BatchNorm's
kernels also have schemas that do not name the running statistics as written (pytorch issues 13402 and 73050).
"""

from __future__ import annotations

from typing import Final

from .copies import argument
from .model import Arguments, Keywords, Operation


def _training(args: Arguments, kwargs: Keywords) -> bool:
    return bool(argument(args, kwargs, 5, "training", False))


def _silent(
    name: str, *overloads: str, remark: str = "the schema says what is written, the versions stay"
) -> Operation:
    return Operation(name, overloads=overloads, bumps=False, remark=remark)


UPDATES: Final[tuple[Operation, ...]] = (
    _silent("torch.optim.Adam (fused)", "aten._fused_adam_"),
    _silent("torch.optim.AdamW (fused)", "aten._fused_adamw_"),
    _silent("torch.optim.SGD (fused)", "aten._fused_sgd_"),
    _silent("torch.optim.Adagrad (fused)", "aten._fused_adagrad_"),
    _silent("torch.amp.GradScaler.unscale_", "aten._amp_foreach_non_finite_check_and_unscale_"),
    Operation(
        "torch.nn.BatchNorm",
        overloads=("aten.native_batch_norm", "aten.cudnn_batch_norm", "aten.miopen_batch_norm"),
        writes=(3, 4),
        writes_when=_training,
        bumps=False,
        remark="running_mean and running_var, in training only",
    ),
    _silent("torch.nn.BatchNorm", "aten._native_batch_norm_legit", "aten._batch_norm_with_update"),
    Operation(
        "torch.nn.SyncBatchNorm", overloads=("aten.batch_norm_update_stats",), writes=(1, 2), bumps=False
    ),
    Operation(
        "torch.nn.SyncBatchNorm",
        overloads=("aten.batch_norm_gather_stats", "aten.batch_norm_gather_stats_with_counts"),
        writes=(3, 4),
        bumps=False,
    ),
)
