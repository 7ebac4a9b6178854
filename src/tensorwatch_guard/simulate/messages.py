"""PyTorch's own sentences about tensors on different devices (``c10/core/DeviceGuard``, ``TensorIterator.cpp``, 2.13).

The name of the generated wrapper (``wrapper_CUDA_addmm``) follows the rule of the code generator: an
underscore more where the operation is not a structured one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .schema import Plan


def _given(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in (*zip(plan.names, args, strict=False), *kwargs.items()):
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, torch.Tensor):
                yield name, item


def check_devices(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Let pass what may meet: indices on the host, and 0-d host tensors where they stand for numbers.

    Raises:
        RuntimeError: in PyTorch's words.
    """
    tensors = list(_given(plan, args, kwargs))
    home = next(tensor.device for _, tensor in tensors if not tensor.is_cpu)
    odd = [entry for entry in tensors if entry[1].device != home and not _welcome(plan, *entry)]
    if not odd:
        return
    if plan.indexes and args[0].is_cpu:
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        )
    if plan.pointwise:
        other = odd[0][1].device
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {home} and {other}!"
        )
    common = tensors[0][1].device  # the check takes the first tensor's device as the common one
    name, device = next((name, tensor.device) for name, tensor in tensors if tensor.device != common)
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but got {name} is on {device}, different from other tensors "
        f"on {common} (when checking argument in method wrapper_CUDA_{'' if plan.structured else '_'}{plan.base})"
    )


def _welcome(plan: Plan, name: str, tensor: torch.Tensor) -> bool:
    if not tensor.is_cpu:
        return False
    return (plan.indexes and name == "indices") or (plan.host_numbers and tensor.dim() == 0)
