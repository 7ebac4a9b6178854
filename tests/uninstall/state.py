"""What must be the same before and after a guard, and how two such states are told apart."""

from __future__ import annotations

import builtins
import gc
import logging
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.utils.data
import torch.utils.dlpack

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNERS: tuple[Any, ...] = (
    builtins,
    np,
    torch,
    torch.Tensor,
    torch.nn.Parameter,
    torch.nn.Module,
    torch.optim.Optimizer,
    torch.optim.Adam,
    sys.modules["torch.optim.optimizer"],
    torch.optim.lr_scheduler,
    torch.autograd,
    torch.autograd.graph,
    torch.autograd.Function,
    torch.functional,
    torch.nn.functional,
    torch.cuda,
    torch.cuda.Stream,
    torch.cuda.Event,
    torch.accelerator,
    torch.xpu,
    torch.mps,
    torch.cpu,
    torch.Stream,
    torch.Event,
    torch.random,
    torch.storage,
    torch.UntypedStorage,
    torch.TypedStorage,
    torch.amp.GradScaler,
    torch.distributed.ProcessGroup,
    torch.multiprocessing,
    sys.modules["torch.multiprocessing.reductions"],
    torch.utils.dlpack,
    torch.utils.data,
    sys.modules["torch.utils.data.dataloader"],
    torch.utils.data.DataLoader,
    sys.modules["torch.utils.data.dataloader"]._BaseDataLoaderIter,
    sys.modules["torch.utils.data._utils.collate"],
    sys.modules["torch.nn.modules.module"],
    sys.modules["torch._tensor"],
    sys.modules["torch._tensor_str"],
    torch.overrides,
    torch.serialization,
    threading,
    sys,
)
"""Everything that a probe might patch, and a good deal that it should not."""

PASSING = {"last_exc", "last_type", "last_value", "last_traceback", "_", "__warningregistry__"}


def state() -> dict[str, Any]:
    """What must be the same before and after: the objects that names stand for, and the stacks and hooks in force."""
    found: dict[str, Any] = {}
    for owner in OWNERS:
        for name, value in dict(vars(owner)).items():
            if name not in PASSING:
                found[f"{owner.__name__}.{name}"] = value if not isinstance(value, (int, float, str)) else repr(value)
    optimizer = sys.modules["torch.optim.optimizer"]
    module = sys.modules["torch.nn.modules.module"]
    found |= {
        "length of dispatch stack": torch._C._len_torch_dispatch_stack(),
        "length of function stack": torch._C._len_torch_function_stack(),
        "dispatch switches": repr(torch._C._meta_in_tls_dispatch_include()),
        "optimizer pre hooks": len(optimizer._global_optimizer_pre_hooks),
        "optimizer post hooks": len(optimizer._global_optimizer_post_hooks),
        "saved tensor hooks": repr(torch._C._autograd._top_saved_tensors_default_hooks(True)),
        "tracers": repr([sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()]),
        "frames": [frame.f_trace for frame in _frames()],
        "filters": repr(warnings.filters),
        "handlers": repr(logging.getLogger().handlers),
        "signals": repr([signal.getsignal(number) for number in sorted(signal.valid_signals())]),
        "excepthooks": repr([sys.excepthook, threading.excepthook, sys.unraisablehook]),
        "gc": repr([gc.callbacks, gc.isenabled(), gc.get_threshold()]),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "switches": repr([sys.getswitchinterval(), sys.getrecursionlimit()]),
    }
    for name in dir(module):
        if name.startswith("_global_") and hasattr(getattr(module, name), "__len__"):
            found[f"length of {name}"] = len(getattr(module, name))
    return found


def _frames() -> Iterator[Any]:
    frame: Any = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names that appeared, vanished or stand for something else."""
    told = []
    for name in sorted({*before, *after}):
        if name not in after:
            told.append(f"{name} is gone")
        elif name not in before:
            told.append(f"{name} is new: {after[name]!r}"[:200])
        elif before[name] is not after[name] and (callable(before[name]) or before[name] != after[name]):
            told.append(f"{name}: {before[name]!r} -> {after[name]!r}"[:300])
    return told
