"""Streams, events and generators of the simulated device, under PyTorch's own Python classes.

A CPU build has ``torch.cuda.Stream`` and ``torch.cuda.Event`` over empty base classes; these are the missing
bases. There is one queue: an event orders nothing, and waiting for one stream completes all.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.cuda import _gpu_trace

if TYPE_CHECKING:
    from .machine import Machine
    from .patches import Patches

_CStream: Final[Any] = torch._C.Stream
_CGenerator: Final[Any] = torch._C.Generator
_CEvent: Final[Any] = torch.Event
_default: Final[Any] = torch.default_generator
_CUDA: Final = 1

_generators: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def is_device_generator(generator: Any) -> bool:
    """Whether a generator belongs to the device. The host's default one does too: the device draws from it.

    Kernels get a new Python object for the C++ generator, so its address is compared.
    """
    return generator._cdata == _default._cdata or generator._cdata in _generators


class _StreamBase(_CStream):  # type: ignore[misc]
    """What ``torch._C._CudaStreamBase`` does in a CUDA build."""

    machine: Machine

    def __init__(self, *_: Any, **__: Any) -> None: ...

    @property
    def cuda_stream(self) -> int:
        return int(self.stream_id)

    @property
    def priority(self) -> int:
        return int(vars(self).get("level", 0))

    def synchronize(self) -> None:
        self.machine.wait(self.cuda_stream)

    def query(self) -> bool:
        return self.machine.idle()

    def wait(self, event: Any) -> None:
        event.wait(self)


class _EventBase:
    """What ``torch._C._CudaEventBase`` does in a CUDA build."""

    machine: Machine
    cuda_event: int
    recorded: float | None
    timed: bool

    def __new__(cls, enable_timing: bool = False, **_: Any) -> Any:
        event = object.__new__(cls)
        event.recorded, event.timed, event.cuda_event = None, enable_timing, 0
        return event

    def __init__(self, *_: Any, **__: Any) -> None: ...

    @property
    def event_id(self) -> int:
        return self.cuda_event

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.machine.index())

    def record(self, stream: Any = None) -> None:
        if not self.cuda_event:
            self.cuda_event = next(self.machine.event_ids)
            _gpu_trace.EventCreationCallbacks.fire_callbacks(self.cuda_event)
        _gpu_trace.EventRecordCallbacks.fire_callbacks(self.cuda_event, getattr(stream, "stream_id", 0))
        self.recorded = time.perf_counter()

    def wait(self, stream: Any = None) -> None:
        if self.cuda_event:
            _gpu_trace.EventWaitCallbacks.fire_callbacks(self.cuda_event, getattr(stream, "stream_id", 0))

    def synchronize(self) -> None:
        if self.cuda_event:
            self.machine.wait_for_event(self.cuda_event)

    def query(self) -> bool:
        return self.machine.idle()

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds of host time between two records: no device time passes here."""
        if not (self.timed and end_event.timed):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self.recorded is None or end_event.recorded is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return float(end_event.recorded - self.recorded) * 1e3


def _standing_for(c_class: Any) -> Any:
    """A metaclass: whatever is an instance of the C class is an instance of the class that stands in for it."""

    def is_instance(_: Any, instance: Any) -> bool:
        return isinstance(instance, c_class)

    return type("_StandsIn", (type(c_class),), {"__instancecheck__": is_instance})


def install(machine: Machine, patches: Patches) -> None:
    """Give PyTorch's Python classes their bases, and the generic ones a way to the simulated device."""
    _generators.clear()
    stream_class = _stream_class(machine)
    event_base, stream_base = torch._C._CudaEventBase, torch._C._CudaStreamBase

    def new_stream(cls: Any, priority: int = 0, **known: int) -> Any:
        if "stream_ptr" in known:
            known = {"stream_id": known["stream_ptr"]}
        kind = cls if issubclass(cls, _StreamBase) else stream_class
        number = known.get("device_index", machine.index())
        identity = known.get("stream_id")
        if identity is None:
            identity = next(machine.stream_ids)
            _gpu_trace.StreamCreationCallbacks.fire_callbacks(identity)
        stream = _CStream.__new__(kind, stream_id=identity, device_index=number, device_type=_CUDA)
        stream.level = min(0, priority)
        return stream

    patches.put(stream_base, "__new__", staticmethod(new_stream))
    patches.put(stream_base, "__init__", lambda *_, **__: None)
    for name, value in vars(_EventBase).items():
        if name not in ("__module__", "__dict__", "__weakref__", "__annotations__", "__doc__"):
            patches.put(event_base, name, value)
    patches.put(event_base, "machine", machine)
    patches.put(torch, "Stream", _generic_stream())
    patches.put(torch, "Event", _generic_event())
    patches.put(torch, "Generator", _generic_generator(machine))


def _stream_class(machine: Machine) -> Any:
    """``torch.cuda.Stream`` first, so that its own methods (and whatever watches them) run; then the base."""
    base = type("_CudaStream", (_StreamBase,), {"machine": machine})
    return type(
        "Stream", (torch.cuda.Stream, base), {"__module__": "torch.cuda", "__init__": _StreamBase.__init__}
    )


def _is_cuda(device: Any) -> bool:
    return device is None or isinstance(device, int) or torch.device(device).type == "cuda"


def _generic_stream() -> Any:
    class Stream(_CStream, metaclass=_standing_for(_CStream)):  # type: ignore[misc,metaclass]
        def __new__(cls, device: Any = None, *, priority: int = 0, **known: int) -> Any:
            if known:
                return torch.cuda.Stream(priority=priority, **known)
            if _is_cuda(device):
                return torch.cuda.Stream(device, priority=priority)
            return _CStream(device, priority=priority)

    return Stream


def _generic_event() -> Any:
    class _Known(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, (_CEvent, torch._C._CudaEventBase))

    class Event(metaclass=_Known):
        def __new__(cls, device: Any = None, **options: Any) -> Any:
            if not _is_cuda(device):
                return _CEvent(device, **options)
            return torch.cuda.Event(**options)

    return Event


def _generic_generator(machine: Machine) -> Any:
    class Generator(_CGenerator, metaclass=_standing_for(_CGenerator)):  # type: ignore[misc,metaclass]
        def __new__(cls, device: Any = "cpu") -> Any:
            wanted = torch.device(device)
            if wanted.type != "cuda":
                return _CGenerator(device=wanted)
            generator = _CGenerator.__new__(cls, device="cpu")
            generator.home = torch.device("cuda", machine.index(wanted))
            _generators[generator._cdata] = generator
            return generator

        def __init__(self, device: Any = "cpu") -> None: ...

        @property
        def device(self) -> torch.device:
            return self.home  # type: ignore[no-any-return]

    return Generator
