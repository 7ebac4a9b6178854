"""What Python sees: the C functions that a CUDA build adds to ``torch._C``, over which ``torch.cuda`` itself runs.

Names that are put in place here are taken away on the way out. What stays unknown is refused by name.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final

import torch

from . import collectives, pinning, streams
from .refusal import cannot
from .tensors import device_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .machine import Machine
    from .patches import Patches

_CUDA: Final = 1
_MEMORY: Final = 80 << 30
"""Bytes of device memory that are reported; nothing is counted."""


def _nothing(*_: Any, **__: Any) -> None: ...


def _none_counted(*_: Any, **__: Any) -> dict[str, Any]:
    return {}


def _memory_statistics(_: int) -> dict[str, Any]:
    """What CUDA's caching allocator counts, all zero: nothing is counted."""
    counts = dict.fromkeys(("current", "peak", "allocated", "freed"), 0)
    kinds = ("allocation", "segment", "active", "inactive_split")
    sizes = ("allocated_bytes", "reserved_bytes", "active_bytes", "inactive_split_bytes", "requested_bytes")
    pools = {name: dict.fromkeys(("all", "large_pool", "small_pool"), counts) for name in (*kinds, *sizes)}
    plain = ("num_alloc_retries", "num_ooms", "num_sync_all_streams", "num_device_alloc", "num_device_free")
    return {**pools, "oversize_allocations": counts, "oversize_segments": counts, **dict.fromkeys(plain, 0)}


def _functions(machine: Machine) -> dict[str, Callable[..., Any]]:
    """``torch._C._cuda_*``."""

    def set_stream(stream_id: int, device_index: int, device_type: int = _CUDA) -> None:  # noqa: ARG001 -- its name is given
        machine.exchange(device_index)
        machine.thread.streams[device_index] = stream_id

    return {
        "init": _nothing,
        "getDeviceCount": lambda: machine.count,
        "getDevice": machine.index,
        "setDevice": machine.exchange,
        "exchangeDevice": machine.exchange,
        "maybeExchangeDevice": machine.exchange,
        "canDeviceAccessPeer": lambda one, other: one != other,
        "synchronize": machine.wait_for_device,
        "isInBadFork": lambda: machine.forked,
        "getCurrentStream": lambda index: (machine.stream(index), index, _CUDA),
        "getDefaultStream": lambda index: (0, index, _CUDA),
        "getCurrentRawStream": machine.stream,
        "setStream": set_stream,
        "emptyCache": _nothing,
        "ipc_collect": _nothing,
        "getAllocatorBackend": lambda: "native",
        "memoryStats": _memory_statistics,
        "hostMemoryStats": _none_counted,
        "resetPeakMemoryStats": _nothing,
        "resetAccumulatedMemoryStats": _nothing,
        "resetPeakHostMemoryStats": _nothing,
        "resetAccumulatedHostMemoryStats": _nothing,
        "setMemoryFraction": _nothing,
        "getMemoryFraction": lambda _: 1.0,
        "getArchFlags": lambda: "sm_90",
        "get_sync_debug_mode": lambda: machine.debug,
        "set_sync_debug_mode": machine.set_debug,
        "sleep": _nothing,
    }


def _accelerator_functions(machine: Machine) -> dict[str, Callable[..., Any]]:
    """``torch._C._accelerator_*``."""
    return {
        "getAccelerator": lambda: torch.device("cuda"),
        "getDeviceIndex": machine.index,
        "setDeviceIndex": machine.exchange,
        "exchangeDevice": machine.exchange,
        "maybeExchangeDevice": machine.exchange,
        "synchronizeDevice": machine.wait_for_device,
        "getStream": torch.cuda.current_stream,
        "setStream": torch.cuda.set_stream,
        "isAllocatorInitialized": lambda: True,
        "emptyCache": _nothing,
        "emptyHostCache": _nothing,
        "getDeviceStats": _none_counted,
        "resetAccumulatedStats": _nothing,
        "resetPeakStats": _nothing,
        "getMemoryInfo": lambda _: (_MEMORY, _MEMORY),
    }


def _properties() -> Any:
    return types.SimpleNamespace(
        name="Simulated accelerator", major=9, minor=0, total_memory=_MEMORY, multi_processor_count=1,
        is_integrated=0, is_multi_gpu_board=0, gcnArchName="", warp_size=32, L2_cache_size=0,
        max_threads_per_multi_processor=2048, regs_per_multiprocessor=65536, shared_memory_per_block=49152,
        shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472, uuid="simulated",
    )  # fmt: skip


def _runtime() -> Any:
    """The part of the CUDA runtime that ``torch.cuda`` asks for."""
    return types.SimpleNamespace(
        cudaError=types.SimpleNamespace(success=0),
        cudaGetErrorString=str,
        cudaMemGetInfo=lambda _: (_MEMORY, _MEMORY),
        cudaProfilerStart=lambda: 0,
        cudaProfilerStop=lambda: 0,
    )


def _module_names(machine: Machine) -> Mapping[str, Any]:
    """Names of ``torch.cuda`` that are state, or would ask the device what no device can answer."""
    return {
        "_initialized": True,
        "_cudart": _runtime(),
        "_cached_device_count": machine.count,
        "_is_in_bad_fork": lambda: machine.forked,
        "_exchange_device": machine.exchange,
        "_maybe_exchange_device": lambda number: machine.exchange(number),  # noqa: PLW0108 -- Dynamo wants two
        "_get_device_properties": lambda _: _properties(),
        "default_generators": (torch.default_generator,) * machine.count,
        "is_bf16_supported": lambda *_, **__: True,
        "is_current_stream_capturing": lambda: False,
    }


def _unknown(name: str) -> Any:
    """``torch._C.__getattr__``: a CUDA function that is not here is named."""
    if name.startswith(("_cuda_", "_accelerator_")):
        raise AttributeError(str(cannot(f"torch._C.{name}")))
    raise AttributeError(f"module 'torch._C' has no attribute {name!r}")


def install(machine: Machine, patches: Patches) -> None:
    """Put the whole face in place."""
    for name, function in _functions(machine).items():
        patches.put(torch._C, f"_cuda_{name}", function)
    for name, function in _accelerator_functions(machine).items():
        patches.put(torch._C, f"_accelerator_{name}", function)
    for name, function in collectives.functions().items():
        patches.put(torch._C, name, function)
    patches.put(torch._C, "_has_cuda", True)
    patches.put(torch._C, "__getattr__", _unknown)
    for name, value in _module_names(machine).items():
        patches.put(torch.cuda, name, value)
    patches.put(torch.backends.cudnn, "is_acceptable", lambda _: False)
    _tools(patches)
    _without_nested_tensors(patches)
    _refuse_graphs(patches)
    _storages(machine, patches)
    streams.install(machine, patches)
    pinning.install(patches)


def _tools(patches: Patches) -> None:
    """NVTX ranges are taken and dropped; the profiler records the host and finds no CUDA tracer to ask."""
    from torch.autograd import profiler

    activity = torch.profiler.ProfilerActivity
    patches.put(profiler, "_supported_activities", lambda: {activity.CPU, activity.CUDA})
    names = ("rangePushA", "rangePop", "rangeStartA", "rangeEnd", "markA")
    patches.put(torch.cuda.nvtx, "_nvtx", types.SimpleNamespace(**dict.fromkeys(names, lambda *_: 0)))


def _without_nested_tensors(patches: Patches) -> None:
    """The fast path of TransformerEncoder with a padding mask makes nested tensors."""
    patches.call(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
    torch.backends.mha.set_fastpath_enabled(False)


def _refuse_graphs(patches: Patches) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise cannot("CUDA graphs")

    patches.put(torch._C._CUDAGraph, "__new__", staticmethod(refuse))


def _storages(machine: Machine, patches: Patches) -> None:
    """Storages made from Python: PyTorch would ask for CUDA's allocator."""
    storage_class = torch.UntypedStorage
    create: Callable[..., Any] = storage_class.__new__
    resize = storage_class.resize_

    def new(cls: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        if device is None:
            return create(cls, *args, **kwargs)
        if torch.device(device).type != "cuda":
            return create(cls, *args, device=device, **kwargs)
        machine.check_process()
        return device_storage(create(cls, *args, device="cpu", **kwargs), machine.index(torch.device(device)))

    def resize_(self: torch.UntypedStorage, size: int) -> None:
        if self.device.type == "cuda" and size != self.nbytes():
            raise cannot("UntypedStorage.resize_ (FSDP)")
        resize(self, size)

    def share(*_: Any, **__: Any) -> Any:
        raise cannot("sharing device memory with other processes")

    patches.put(storage_class, "__new__", staticmethod(new))
    patches.put(storage_class, "resize_", resize_)
    patches.put(storage_class, "_share_cuda_", share)
