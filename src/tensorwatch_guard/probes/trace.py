"""The trace layer: the accelerator's own call-backs at each sync inside PyTorch's C++.

``torch._C._activate_gpu_trace`` makes CUDA and XPU call Python before they wait, also inside ``bincount`` or a mask. A
call-back with a happening open confirms it; one that no call explains is a finding of its own: sync inside an operation.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final

import torch

from ..current import LOCAL
from ..looks import waited
from ..session import SESSION
from ..sites import FILES, OWN
from .ops import overload_in

_get_frame: Final = sys._getframe
_REGISTRIES: Final = (
    "StreamSynchronizationCallbacks",
    "DeviceSynchronizationCallbacks",
    "EventSynchronizationCallbacks",
)


class TraceLayer:
    """Registered while guards are open. The trace itself cannot be switched off again; its call-backs can be removed."""

    def __init__(self) -> None:
        self._registered: list[tuple[list[Any], Callable[..., None]]] = []

    def start(self, backends: tuple[str, ...]) -> bool:
        """Register with ``cuda`` and ``xpu`` as they are there. True if any is."""
        for backend in backends:
            try:
                trace = importlib.import_module(f"torch.{backend}._gpu_trace")
                torch._C._activate_gpu_trace()
            except (ImportError, AttributeError, RuntimeError):
                continue
            for name in _REGISTRIES:
                registry = getattr(trace, name, None)
                if registry is not None:
                    call_back = _call_back(backend)
                    registry.add_callback(call_back)
                    self._registered.append((registry.callback_list, call_back))
        return bool(self._registered)

    def stop(self) -> None:
        """Take our call-backs out of PyTorch's lists."""
        while self._registered:
            call_backs, ours = self._registered.pop()
            if ours in call_backs:
                call_backs.remove(ours)


def _call_back(backend: str) -> Callable[..., None]:
    def synchronizes(*_: int) -> None:
        session = SESSION
        here = LOCAL.here
        if not session.collectors or here.busy:
            return
        happening = here.open
        if happening is not None:
            happening.waits += 1
            outer = happening.outer
            while outer is not None:  # an absorbing call around it has waited, too
                outer.waits += 1
                outer = outer.outer
            return
        frame: Any = _get_frame(1)
        operation = None
        while frame is not None and _on_the_way(frame.f_code):
            operation = operation or overload_in(frame)
            frame = frame.f_back
        try:
            if frame is not None:
                at = session.trail(frame)
            elif session.backwards and torch._C._current_graph_task_id() != -1:  # autograd's device thread
                at = session.trail(session.backwards[-1])
            else:
                return
            tallies = session.emit(
                "sync",
                "sync inside an operation",
                at,
                blocking=True,
                implicit=True,
                via=(operation or (_innermost_torch(frame) if frame is not None else "backward"),),
                details={"device": f"{backend}{session.device_suffix}", "seen_by": ["trace"]},
            )
            here.traced = at, tallies
            here.busy = True
            with torch._C.DisableTorchFunction():
                waited(session, at, tallies)
        except Exception as error:
            session.fault("trace", error)
        finally:
            here.busy = False

    return synchronizes


def _on_the_way(code: Any) -> bool:
    """Frames of ours, of the simulated device among them, and PyTorch's that calls the call-backs."""
    return FILES[code.co_filename] == OWN or code.co_name == "fire_callbacks"


def _innermost_torch(frame: Any) -> str:
    """The function of PyTorch's Python code that stands innermost, or the C++ operation nobody can name."""
    module = frame.f_globals.get("__name__", "")
    return f"{module}.{frame.f_code.co_name}" if module.startswith("torch") else "C++"


def backends() -> tuple[str, ...]:
    """The kinds of accelerator of this process that have a trace."""
    found = []
    for name in ("cuda", "xpu"):
        backend = getattr(torch, name, None)
        if backend is not None and backend.is_available():
            found.append(name)
    return tuple(found)
