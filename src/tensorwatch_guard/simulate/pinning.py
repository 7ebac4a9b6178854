"""Factories with ``pin_memory=True``: a CPU build cannot pin, so the wish is taken and the memory marked."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import torch

from .copying import pinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from .patches import Patches

_FACTORIES: Final = (
    "empty", "zeros", "ones", "full", "rand", "randn", "randint", "randperm", "arange", "eye", "linspace", "tensor",
    "empty_strided", "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like",
)  # fmt: skip
_METHODS: Final = ("new_empty", "new_zeros", "new_ones", "new_full")


def _pinning(factory: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(factory)
    def create(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.pop("pin_memory", False):
            return factory(*args, **kwargs)
        tensor = factory(*args, **kwargs)
        if not tensor.is_cpu:
            raise RuntimeError("Only dense CPU tensors can be pinned")
        return pinned(tensor)

    return create


def install(patches: Patches) -> None:
    """Wrap the factories. TorchScript knows builtins by identity and is told what the wrappers stand for."""
    from torch.jit import _builtins
    from torch.utils import _device

    _device._device_constructors()  # cached by PyTorch: must be filled with its own factories
    for name in _FACTORIES:
        factory = getattr(torch, name)
        wrapper = _pinning(factory)
        patches.put(torch, name, wrapper)
        script_name = _builtins._find_builtin(factory)
        if script_name is not None:
            _builtins._register_builtin(wrapper, script_name)
            table = _builtins._get_builtin_table()
            patches.call(table.pop, id(wrapper), None)
    for name in _METHODS:
        patches.put(torch.Tensor, name, _pinning(getattr(torch.Tensor, name)))
