"""Copies between host and device, and pinned memory. What waits and what crosses stands in the operations table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from tensorwatch_guard.operations import BY_OVERLOAD, Move, Operation

from .kernels import Kernel, build, bumping
from .tensors import CPU, ON_CPU, host_kernel, to_device, to_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Machine

_aten: Final = torch.ops.aten
_copy = host_kernel(_aten.copy_.default)
_to_copy = host_kernel(_aten._to_copy.default)
_like = host_kernel(_aten.empty_like.default)
_clone = host_kernel(_aten.clone.default)


def _moves(name: str, *args: Any, **kwargs: Any) -> tuple[Move, ...]:
    row: Operation | None = BY_OVERLOAD[name]
    return row.moves(args, kwargs) if row is not None and row.moves is not None else ()


def is_pinned(tensor: torch.Tensor, _device: Any = None) -> bool:
    """Whether a host tensor's memory was asked for as pinned."""
    return tensor.is_cpu and getattr(tensor.untyped_storage(), "pinned", False)


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor, its memory marked as pinned."""
    storage: Any = tensor.untyped_storage()
    storage.pinned = True
    return tensor


def _pin_memory(tensor: torch.Tensor, _device: Any = None) -> torch.Tensor:
    return pinned(_clone(ON_CPU, tensor))


def host_kernels() -> dict[str, Kernel]:
    """What stands in for PyTorch's own kernels on the CPU while a device is simulated."""
    return {"aten::is_pinned": is_pinned, "aten::_pin_memory": _pin_memory}


def _host_side(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_cpu else to_host(tensor)


class Copies:
    """The kernels of ``copy_`` and ``_to_copy`` for one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._copy_here: Callable[..., torch.Tensor] = build(_aten.copy_.default, machine)
        self._convert_here: Callable[..., torch.Tensor] = build(_aten._to_copy.default, machine)

    def kernels(self) -> dict[str, Kernel]:
        """By overload name."""
        return {
            "aten::copy_": self.copy,
            "aten::_to_copy": self.to_copy,
            "aten::_foreach_copy_": bumping(self.copy_each),
            "aten::is_pinned": is_pinned,
        }

    def copy(self, into: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        """``into.copy_(source)``, at least one of them on a device."""
        if into.device == source.device:
            return self._copy_here(into, source, non_blocking)
        late = self._machine.late
        if late is not None:
            late.before([tensor for tensor in (into, source) if not tensor.is_cpu])
        moves = self._announce(_moves("aten.copy_.default", into, source, non_blocking))
        self._transfer(_host_side(into), _host_side(source), into, moves)
        return into

    def copy_each(
        self, into: list[torch.Tensor], sources: list[torch.Tensor], non_blocking: bool = False
    ) -> None:
        """``_foreach_copy_``: one copy after the other."""
        for target, source in zip(into, sources, strict=True):
            self.copy(target, source, non_blocking)

    def to_copy(
        self,
        tensor: torch.Tensor,
        *,
        dtype: torch.dtype | None = None,
        layout: Any = None,
        device: torch.device | None = None,
        pin_memory: bool | None = None,
        non_blocking: bool = False,
        memory_format: Any = None,
    ) -> torch.Tensor:
        """``tensor.to(...)`` that needs new memory; ``tensor`` or ``device`` is on a device."""
        here, index = tensor.device, -1
        wanted = {"dtype": dtype or tensor.dtype, "layout": layout, "memory_format": memory_format}
        if device is not None and device.type == "cuda":
            index = self._machine.index(device)
        if device is None or (device.type == here.type and index == here.index):
            return self._convert_here(tensor, **wanted, device=here, non_blocking=non_blocking)
        if device.type not in ("cpu", "cuda"):
            return _like(ON_CPU, _host_side(tensor), **wanted, device=device)
        there = device if index < 0 else torch.device("cuda", index)
        moves = self._announce(
            _moves("aten._to_copy.default", tensor, dtype=dtype, device=there, non_blocking=non_blocking)
        )
        source, late = _host_side(tensor), self._is_late(moves)
        fresh = (_like if late else _to_copy)(ON_CPU, source, **wanted, device=CPU)
        if index < 0 and (non_blocking or pin_memory):
            pinned(fresh)  # PyTorch pins the target of an asynchronous copy to the host by itself
        result = fresh if index < 0 else to_device(fresh, index)
        if late:
            self._transfer(fresh, source, result, moves)
        return result

    def _announce(self, moves: tuple[Move, ...]) -> tuple[Move, ...]:
        for move in moves:
            self._machine.moved(move)
        return moves

    def _is_late(self, moves: tuple[Move, ...]) -> bool:
        return self._machine.late is not None and any(
            not move.blocking and move.direction != "d2d" for move in moves
        )

    def _transfer(
        self, into: torch.Tensor, source: torch.Tensor, result: torch.Tensor, moves: tuple[Move, ...]
    ) -> None:
        """Copy now, or leave it in flight: host sides, and ``result``, which the program holds."""
        late = self._machine.late
        if late is None or not self._is_late(moves):
            _copy(ON_CPU, into, source)
        elif result.is_cpu:
            late.to_host(into, source)
        else:
            late.to_device(into, source, result.untyped_storage()._cdata)
