"""The autograd engine and a device that it may not know: it counts devices once, at the first backward."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd import graph

from .tensors import CPU, to_device

if TYPE_CHECKING:
    from .patches import Patches

_TOO_LATE: Final = (
    "simulated_accelerator() was entered after the process had run a backward: PyTorch has counted its devices "
    "already. Backward runs on the calling thread, not on a device thread as on a GPU; values are the same. "
    "Enter it earlier to have the threads too."
)


def install(count: int, patches: Patches) -> bool:
    """Try one small backward on each device: whether the engine has a thread for it. If not, use the caller's.

    The last one comes first: it says whether there are threads. The others wait until theirs has come up: a thread that is
    still on its way to the interpreter lock when a short program ends aborts the process.
    """
    try:
        for index in reversed(range(count)):
            probe = to_device(torch._C._VariableFunctions.zeros(1, device=CPU), index).requires_grad_()
            with torch.enable_grad():
                probe.clone().backward()
    except RuntimeError:
        run = graph._engine_run_backward

        def on_this_thread(*args: Any, **kwargs: Any) -> Any:
            with torch.autograd.set_multithreading_enabled(False):
                return run(*args, **kwargs)

        patches.put(graph, "_engine_run_backward", on_this_thread)
        patches.put(torch.autograd, "_engine_run_backward", on_this_thread)
        warnings.warn(_TOO_LATE, stacklevel=4)
        return False
    return True
