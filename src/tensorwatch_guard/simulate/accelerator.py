"""``simulated_accelerator``: what is put in place, in which order, and how all of it is taken back."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

from . import compiling, copying, device, engine, face, recurrent
from .copying import Copies
from .kernels import build
from .machine import Machine
from .patches import Patches
from .refusal import SimulatorUnavailableError, cannot
from .registry import Registry
from .tensors import CPU, empty, neg_view, resize, to_device

_inside: list[SimulatedAccelerator] = []


class SimulatedAccelerator:
    """One simulated accelerator, on while its ``with`` block runs; can be entered again afterwards.

    Attributes:
        name: the device type, ``cuda``.
        count: how many devices there are.
        late_copies: whether asynchronous copies complete only when they must.
        device_threads: whether backward runs on device threads, as on a GPU; None before it was entered.
    """

    def __init__(self, name: str, count: int, *, late_copies: bool) -> None:
        self.name, self.count, self.late_copies = name, count, late_copies
        self.device_threads: bool | None = None
        self._patches: Patches | None = None
        self._machine: Machine | None = None
        self._registry: Registry | None = None

    def __enter__(self) -> SimulatedAccelerator:  # noqa: PYI034 -- Self came with 3.11
        """Put everything in place, or nothing.

        Raises:
            SimulatorUnavailableError: a real device is there, one is simulated already, or this PyTorch or
                platform lacks something that the construction needs.
        """
        if _inside:
            raise SimulatorUnavailableError("a simulated accelerator is active already; they do not nest")
        device.check_platform()
        compiling.hide()
        self._patches = Patches()
        _tell_guards("step_aside")  # probes that linger between two guards would stand below our patches
        _inside.append(self)
        try:
            self._install(self._patches)
            _tell_guards("devices_changed")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _install(self, patches: Patches) -> None:
        machine = self._machine = Machine(self.count, late=self.late_copies)
        patches.call(device.install_hooks())
        device.install_guard()
        face.install(machine, patches)
        machine.check_devices()
        device.check_relabelling()
        copies = Copies(machine)
        special = {**copies.kernels(), **recurrent.kernels(), **_answers(), **_factories(machine), **_halves(machine)}
        registry = self._registry = Registry(machine, special, copying.host_kernels(), recurrent.composites())
        patches.call(registry.withdraw)
        registry.register()
        self.device_threads = engine.install(self.count, patches)

    def _remove(self) -> None:
        _tell_guards("step_aside")
        if self in _inside:
            _inside.remove(self)
        if self._machine is not None:
            self._machine.complete()
        if self._patches is not None:
            self._patches.undo()
        self._patches = self._registry = self._machine = None
        _tell_guards("devices_changed")

    def forked(self) -> None:
        """In a forked child: the device cannot be used there."""
        if self._registry is not None:
            self._registry.refuse_forked()


def _tell_guards(what: str) -> None:
    """Open guards look at devices again; without guards nothing is imported."""
    room = sys.modules.get("tensorwatch_guard.running")
    if room is not None:
        getattr(room.RUNNING, what)()


def _answers() -> dict[str, Any]:
    """Questions about libraries that are not there: the plain way is taken."""
    return {
        "aten::_fused_sdp_choice": lambda *_, **__: 0,
        "aten::_use_cudnn_ctc_loss": lambda *_: False,
        "aten::_use_cudnn_ctc_loss.Tensor": lambda *_: False,
        "aten::_use_miopen_ctc_loss": lambda *_: False,
        "aten::_use_miopen_ctc_loss.Tensor": lambda *_: False,
        "aten::record_stream": lambda *_: None,
        "aten::resize_": resize,
        "aten::_neg_view": neg_view,
    }


def _halves(machine: Machine) -> dict[str, Any]:
    """``softmax(half, dtype=float32)`` is one kernel on CUDA (``half_to_float``), which the CPU's refuses."""

    def forward(name: str) -> Any:
        kernel = build(getattr(torch.ops.aten, name).default, machine)
        convert = build(torch.ops.aten._to_copy.default, machine)

        def run(tensor: torch.Tensor, dim: int, half_to_float: bool) -> Any:
            return kernel(convert(tensor, dtype=torch.float32) if half_to_float else tensor, dim, False)

        return run

    def backward(name: str) -> Any:
        kernel = build(getattr(torch.ops.aten, name).default, machine)
        convert = build(torch.ops.aten._to_copy.default, machine)

        def run(grad: torch.Tensor, output: torch.Tensor, dim: int, input_dtype: torch.dtype) -> Any:
            result = kernel(grad, output, dim, grad.dtype)
            return result if input_dtype == grad.dtype else convert(result, dtype=input_dtype)

        return run

    return {
        "aten::_softmax": forward("_softmax"),
        "aten::_log_softmax": forward("_log_softmax"),
        "aten::_softmax_backward_data": backward("_softmax_backward_data"),
        "aten::_log_softmax_backward_data": backward("_log_softmax_backward_data"),
    }


def _factories(machine: Machine) -> dict[str, Any]:
    """What every factory function begins with."""

    def empty_format(
        size: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None,
        memory_format: Any = None,
    ) -> torch.Tensor:  # fmt: skip
        _check_options(layout, pin_memory)
        return empty(size, index=machine.index(device), dtype=dtype, memory_format=memory_format)

    def empty_strides(
        size: Any,
        stride: Any,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: Any = None,
    ) -> torch.Tensor:
        _check_options(layout, pin_memory)
        return empty(size, index=machine.index(device), dtype=dtype, strides=stride)

    def zeros(size: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> torch.Tensor:
        return to_device(
            torch._C._VariableFunctions.zeros(size, dtype=dtype, device=CPU), machine.index(device)
        )

    return {
        "aten::empty.memory_format": empty_format,
        "aten::empty_strided": empty_strides,
        "aten::_efficientzerotensor": zeros,  # has no memory at all on the CPU
    }


def _check_options(layout: Any, pin_memory: Any) -> None:
    if pin_memory:
        raise RuntimeError("Only dense CPU tensors can be pinned")
    if layout not in (None, torch.strided):
        raise cannot(f"{layout} tensors")


def _after_fork() -> None:
    for accelerator in _inside:
        accelerator.forked()


os.register_at_fork(after_in_child=_after_fork)
