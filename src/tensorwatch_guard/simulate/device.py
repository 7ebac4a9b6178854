"""What a CUDA build registers in C++: a device guard and hooks, supplied with ctypes; and the relabelling of memory.

The only room that touches C++ objects. It assumes no layout: PyTorch's own inert guard for ``cuda`` is asked
for, tables of virtual functions are copied whole, and their order is read from the headers in the wheel.
Whatever does not answer as expected is refused by name, before anything was changed.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import torch

from .refusal import SimulatorUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT: Final = os.path.dirname(torch.__file__)
_REGISTRY: Final = "_ZN3c104impl26device_guard_impl_registryE"
_HOOKS: Final = "_ZN2at6detail12getCUDAHooksEv"
_CUDA: Final = 1  # c10::DeviceType::CUDA
_DLPACK_CUDA: Final = 2
_DLPACK_CPU: Final = 1
_ANSWERED_YES: Final = ("hasCUDA", "hasPrimaryContext", "isAvailable", "isBuilt", "init")
_kept: list[Any] = []
"""C++ keeps pointers to these: they live as long as the process."""


def check_platform() -> None:
    """Refuse what the construction was never seen on.

    Raises:
        SimulatorUnavailableError: another system than 64-bit Linux, a PyTorch with CUDA of its own, or one before 2.9.
    """
    if sys.platform != "linux" or sys.maxsize < 2**32 or sys.byteorder != "little":
        raise SimulatorUnavailableError(
            f"the simulated accelerator needs 64-bit Linux; this is {sys.platform}"
        )
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < (2, 9):
        raise SimulatorUnavailableError(
            f"the simulated accelerator needs PyTorch 2.9 or later; this is {torch.__version__}"
        )
    if torch._C._has_cuda or torch.version.cuda is not None or torch.version.hip is not None:
        raise SimulatorUnavailableError(
            f"this PyTorch ({torch.__version__}) has CUDA of its own: use the real device, or a CPU build of PyTorch"
        )


def _library(name: str) -> ctypes.CDLL:
    path = os.path.join(_ROOT, "lib", name)
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise SimulatorUnavailableError(f"cannot open {path}: {error}") from error


def _header(*parts: str) -> str:
    path = os.path.join(_ROOT, "include", *parts)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise SimulatorUnavailableError(f"this PyTorch comes without the header {path}") from error


def _virtuals(text: str, known: tuple[str, ...] = ()) -> list[str]:
    """Virtual functions that a header declares, without overrides of ``known``; ``~`` is a destructor's slot."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    names = []
    for name in re.findall(r"\bvirtual\s+[^;{}()]*?(~?\w+)\s*\(", text):
        if name.startswith("~"):
            names += [] if known else ["~", "~"]
        elif name not in known:
            names.append(name)
    return names


def _hook_slots() -> list[str]:
    base = tuple(_virtuals(_header("ATen", "detail", "AcceleratorHooksInterface.h")))
    slots = [*base, *_virtuals(_header("ATen", "detail", "CUDAHooksInterface.h"), base)]
    if "hasCUDA" not in slots:
        raise SimulatorUnavailableError("CUDAHooksInterface.h declares no hasCUDA")
    return slots


def _copy_of_table(instance: int, slots: int) -> tuple[Any, Any]:
    """(where an object keeps its table's address, a copy of the table with the two words in front of it)."""
    place = ctypes.c_void_p.from_address(instance)
    words = ctypes.c_void_p * (slots + 2)
    table = words(*words.from_address((place.value or 0) - 16))
    _kept.append(table)
    return place, table


def install_hooks() -> Callable[[], None]:
    """Let PyTorch's CUDA hooks say that there is CUDA: the autograd engine asks them. Returns what undoes it."""
    library = _library("libtorch_cpu.so")
    try:
        get_hooks = getattr(library, _HOOKS)
    except AttributeError as error:
        raise SimulatorUnavailableError(f"this PyTorch does not export {_HOOKS}") from error
    get_hooks.restype = ctypes.c_void_p
    hooks, slots = get_hooks(), _hook_slots()
    place, table = _copy_of_table(hooks, len(slots))
    says_cuda = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
    if says_cuda(table[2 + slots.index("hasCUDA")])(hooks):
        raise SimulatorUnavailableError(
            "CUDAHooksInterface.h does not match this PyTorch: hasCUDA is not where it says"
        )
    # A native function that answers 1, takes no lock and needs no interpreter: hooks are called without the GIL.
    yes = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value
    for name in _ANSWERED_YES:
        if name in slots:
            table[2 + slots.index(name)] = yes
    before = place.value
    place.value = ctypes.addressof(table) + 16

    def undo() -> None:
        place.value = before

    if torch._C._get_accelerator().type != "cuda":  # asks hasCUDA through the table
        undo()
        raise SimulatorUnavailableError(
            "CUDAHooksInterface.h does not match this PyTorch: its hooks answer as before"
        )
    return undo


def install_guard() -> None:
    """Have PyTorch put its own inert device guard for ``cuda`` into c10's registry, where it stays.

    An object whose every virtual function answers 0 is taken for a CUDA build that found no device.
    """
    library = _library("libc10.so")
    try:
        registry = (ctypes.c_void_p * (_CUDA + 1)).in_dll(library, _REGISTRY)
        ensure = torch._C._ensureCUDADeviceGuardSet
    except (ValueError, AttributeError) as error:
        raise SimulatorUnavailableError(f"this PyTorch does not export {error}") from error
    if registry[_CUDA]:
        return
    zero = ctypes.CFUNCTYPE(ctypes.c_long)(lambda: 0)
    table = (ctypes.c_void_p * 64)(*[ctypes.cast(zero, ctypes.c_void_p).value] * 64)
    nothing = (ctypes.c_void_p * 2)(ctypes.addressof(table), 0)
    _kept.extend((zero, table, nothing))
    registry[_CUDA] = ctypes.addressof(nothing)
    ensure()
    if registry[_CUDA] == ctypes.addressof(nothing):
        registry[_CUDA] = None
        raise SimulatorUnavailableError("this PyTorch does not install a device guard for cuda by itself")


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
_device_field = ctypes.c_int64.from_address
_pack: Callable[[torch.Tensor], Any] = torch._C._to_dlpack
_unpack: Callable[[Any], torch.Tensor] = torch._C._from_dlpack


def on_device(tensor: torch.Tensor, index: int) -> torch.Tensor:
    """A ``cuda`` tensor over the memory of a CPU tensor, which it keeps alive. Conjugate and negative bits are lost.

    DLPack's ``DLTensor`` (a published, stable layout) starts with the data pointer and the device, two 32-bit
    numbers.
    """
    capsule = _pack(tensor)
    _device_field(_pointer_of(capsule, b"dltensor") + 8).value = _DLPACK_CUDA | (index << 32)
    return _unpack(capsule)


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """A CPU tensor over the memory of a simulated ``cuda`` tensor, which it keeps alive; its storage cannot grow."""
    capsule = _pack(tensor)
    _device_field(_pointer_of(capsule, b"dltensor") + 8).value = _DLPACK_CPU
    return _unpack(capsule)


def check_relabelling() -> None:
    """See that a tensor goes to the device and back with its memory; called once the guard is there.

    Raises:
        SimulatorUnavailableError: PyTorch's DLPack does not carry the device as published.
    """
    host = torch._C._VariableFunctions.zeros(3, device=torch.device("cpu"))
    there = on_device(host, 0)
    back = on_host(there)
    if there.device != torch.device("cuda", 0) or not back.is_cpu or back.data_ptr() != host.data_ptr():
        raise SimulatorUnavailableError(
            "PyTorch's DLPack exchange does not carry the device: no cuda tensor can be made"
        )
