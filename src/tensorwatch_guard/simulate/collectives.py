"""What ``torch.nn.DataParallel`` asks of C++: scatter, gather and broadcast, made of plain copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _at(number: int) -> torch.device:
    return torch.device("cpu") if number < 0 else torch.device("cuda", number)


def _scatter(
    tensor: torch.Tensor,
    devices: Sequence[int],
    sizes: Sequence[int] | None = None,
    dim: int = 0,
    _streams: Any = None,
) -> tuple[torch.Tensor, ...]:
    chunks = tensor.chunk(len(devices), dim) if sizes is None else tensor.split(list(sizes), dim)
    return tuple(chunk.to(_at(device)) for chunk, device in zip(chunks, devices, strict=False))


def _gather(tensors: Sequence[torch.Tensor], dim: int, destination: int | None = None) -> torch.Tensor:
    target = torch.device("cuda") if destination is None else _at(destination)
    return torch.cat([tensor.to(target) for tensor in tensors], dim)


def _broadcast(tensor: torch.Tensor, devices: Sequence[int]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.to(_at(device)) for device in devices)


def _broadcast_all(
    tensors: Sequence[torch.Tensor], devices: Sequence[int], _buffer_size: int = 0
) -> tuple[tuple[torch.Tensor, ...], ...]:
    return tuple(tuple(tensor.to(_at(device)) for tensor in tensors) for device in devices)


def functions() -> dict[str, Callable[..., Any]]:
    """By their names in ``torch._C``."""
    return {
        "_scatter": _scatter,
        "_gather": _gather,
        "_broadcast": _broadcast,
        "_broadcast_coalesced": _broadcast_all,
    }
