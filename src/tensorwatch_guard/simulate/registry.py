"""Which operations get a kernel by name, which through the fallback, and how all are put in place and taken back."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch

from .kernels import Kernel, build, native
from .machine import FORKED, Machine
from .refusal import cannot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEY: Final = "CUDA"
_LAYOUTS: Final = ("SparseCUDA", "SparseCsrCUDA", "NestedTensorCUDA", "QuantizedCUDA")
# What all views come to: registered straight, for speed.
_STRIDES: Final = ("aten::as_strided", "aten::view")
# What C++ calls past dispatch modes (``torch.tensor([scalar])``): with a mode on, PyTorch finds no fallback there.
_PAST_MODES: Final = ("aten::_local_scalar_dense",)
# Taken whole, although PyTorch would put them together from smaller ones or choose a CUDA-only way.
_WHOLE: Final = ("aten::_foreach_", "aten::convolution", "aten::_convolution_double_backward")


def _registered(key: str) -> set[str]:
    return set(torch._C._dispatch_get_registrations_for_dispatch_key(key))


@lru_cache(maxsize=1)
def _named() -> tuple[str, ...]:
    """Operations that need a kernel by name: PyTorch has a composite for them, which comes before a fallback."""
    implicit = _registered("CompositeImplicitAutograd")
    composite = implicit | _registered("CompositeExplicitAutograd")
    composite |= _registered("CompositeExplicitAutogradNonFunctional")
    names = _registered("CPU") & composite
    names |= {name for name in composite - implicit if name.startswith(_WHOLE)}
    return tuple(sorted(name for name in names - _registered(_KEY) if name.startswith("aten::")))


@lru_cache(maxsize=1)
def _collectives() -> tuple[str, ...]:
    """``torch.distributed``'s operations, whose kernels for CUDA end in what this PyTorch was built without."""
    return tuple(sorted(name for name in _registered(_KEY) if name.startswith("c10d::")))


def _overload_of(name: str) -> Any:
    namespace, _, rest = name.partition("::")
    base, _, overload = rest.partition(".")
    return getattr(getattr(getattr(torch.ops, namespace), base), overload or "default")


def _refuse_collective(*_: Any, **__: Any) -> Any:
    raise cannot("torch.distributed collectives on device tensors")


def _library(namespace: str) -> Any:
    return torch.library.Library(namespace, "IMPL")


def _refuse_layout(overload: Any, *_: Any, **__: Any) -> Any:
    raise cannot(f"{overload} on sparse, nested or quantized tensors")


def _refuse_forked(*_: Any, **__: Any) -> Any:
    raise RuntimeError(FORKED)


class Registry:
    """All kernels of one simulated accelerator, built when they are first used.

    Args:
        machine: the state they work on.
        special: kernels written by hand, by overload name (``aten::copy_``).
        host: kernels that stand in for PyTorch's own on the CPU (``aten::is_pinned``).
        composite: operations put together from others in another way than PyTorch would (``aten::lstm.input``).
    """

    def __init__(
        self,
        machine: Machine,
        special: Mapping[str, Kernel],
        host: Mapping[str, Kernel],
        composite: Mapping[str, Kernel],
    ) -> None:
        self._machine, self._special, self._host, self._composite = machine, special, host, composite
        self._ready: dict[Any, Kernel] = {}
        self._make: Callable[[Any], Kernel] = self._kernel_of
        self._libraries: list[Any] = []

    def register(self) -> None:
        """Put kernels under CUDA: by name where PyTorch has a composite, through the fallback for all others."""
        library, fallbacks, distributed = (_library(namespace) for namespace in ("aten", "_", "c10d"))
        self._libraries += [library, fallbacks, distributed]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch says once that a kernel of its own is replaced
            for name in _collectives():
                distributed.m.impl(name, _KEY, _refuse_collective, False)
        for name in dict.fromkeys((*_named(), *_STRIDES, *_PAST_MODES, *self._special)):
            kernel = native(_overload_of(name)) if name in _STRIDES else self._entry(name)
            library.m.impl(name, _KEY, kernel, False)
        for name, kernel in self._host.items():
            library.m.impl(name, "CPU", kernel, False)
        for name, kernel in self._composite.items():
            for key in (_KEY, f"Autograd{_KEY}"):
                library.m.impl(name, key, kernel, False)
        fallbacks.fallback(self._fallback, _KEY)
        for key in _LAYOUTS:
            fallbacks.fallback(_refuse_layout, key)

    def withdraw(self) -> None:
        """Take all kernels back."""
        while self._libraries:
            self._libraries.pop()._destroy()
        self._ready.clear()

    def refuse_forked(self) -> None:
        """In a forked child every operation says what it says there of a real device."""
        self._make = lambda _: _refuse_forked
        self._ready.clear()

    def _kernel_of(self, overload: Any) -> Kernel:
        name = overload.name()
        return self._special[name] if name in self._special else build(overload, self._machine)

    def _entry(self, name: str) -> Kernel:
        ready = self._ready

        def kernel(*args: Any, **kwargs: Any) -> Any:
            try:
                run = ready[name]
            except KeyError:
                run = ready[name] = self._make(_overload_of(name))
            return run(*args, **kwargs)

        return kernel

    def _fallback(self, overload: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            run = self._ready[id(overload)]
        except KeyError:
            run = self._ready[id(overload)] = self._make(overload)
        return run(*args, **kwargs)
