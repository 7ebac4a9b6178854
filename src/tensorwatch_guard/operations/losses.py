"""Rows: losses and quantizers that fetch lengths or flags from the device."""

from __future__ import annotations

from typing import Final

from .copies import argument, on_device
from .model import Arguments, Keywords, Operation


def _device_lengths(args: Arguments, kwargs: Keywords) -> bool:
    return on_device(argument(args, kwargs, 2, "input_lengths")) or on_device(
        argument(args, kwargs, 3, "target_lengths")
    )


def _device_lengths_backward(args: Arguments, kwargs: Keywords) -> bool:
    return on_device(argument(args, kwargs, 3, "input_lengths")) or on_device(
        argument(args, kwargs, 4, "target_lengths")
    )


LOSSES: Final[tuple[Operation, ...]] = (
    Operation(
        "torch.nn.functional.ctc_loss",
        overloads=("aten._ctc_loss.Tensor", "aten._ctc_loss.Tensor_out"),
        waits=_device_lengths,
        implicit=True,
        remark=".to(kCPU) of both lengths, LossCTC.cpp:439",
    ),
    Operation(
        "torch.nn.functional.ctc_loss (backward)",
        overloads=("aten._ctc_loss_backward.Tensor",),
        waits=_device_lengths_backward,
        implicit=True,
        remark="LossCTC.cpp:557",
    ),
    Operation(
        "torch.fake_quantize_per_channel_affine",
        overloads=("aten.fake_quantize_per_channel_affine_cachemask",),
        waits="always",
        implicit=True,
        remark="min and max of zero_point are read, FakeQuantPerChannelAffine.cpp",
    ),
    Operation(
        "torch.fused_moving_avg_obs_fake_quant",
        overloads=("aten._fused_moving_avg_obs_fq_helper", "aten._fused_moving_avg_obs_fq_helper_functional"),
        waits="always",
        implicit=True,
        remark="observer_on.item(), FusedObsFakeQuant",
    ),
)
