"""Contexts that stand in for a guard and break neutrality on purpose: what the harness must catch.

Each does one thing that a careless guard has been seen, or could be seen, to do.
"""

from __future__ import annotations

import contextlib
import random
import sys
import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def _patched(owner: Any, name: str, made: Callable[[Any], Any]) -> Iterator[None]:
    own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, made(original))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)


@contextlib.contextmanager
def consumes_torch_random() -> Iterator[None]:
    """Draw one number of PyTorch's stream."""
    torch.rand(())
    yield


@contextlib.contextmanager
def consumes_python_random() -> Iterator[None]:
    """Draw one number of Python's stream at the end (to sample, say)."""
    yield
    random.random()


def bumps_versions() -> AbstractContextManager[None]:
    """Count a write that PyTorch does not count: after each fused or other optimizer step."""

    def stepped(optimizer: Any, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                torch.autograd.graph.increment_version(parameter)

    @contextlib.contextmanager
    def hooked() -> Iterator[None]:
        handle = register_optimizer_step_post_hook(stepped)
        try:
            yield
        finally:
            handle.remove()

    return hooked()


def swallows_versions() -> AbstractContextManager[Any]:
    """A plain dispatch mode: foreach functions forget their bumps, and torch.compile is switched off."""

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    return Mode()


def removes_in_place_check() -> AbstractContextManager[Any]:
    """Saved-tensor hooks that do nothing: they switch off PyTorch's in-place check."""
    return torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


def breaks_pickling() -> AbstractContextManager[None]:
    """A closure in the place of `from_numpy`: it pickles by a name that is not its own."""

    def made(original: Any) -> Any:
        def closure(*args: Any, **kwargs: Any) -> Any:
            return original(*args, **kwargs)

        return closure

    return _patched(torch, "from_numpy", made)


def breaks_graphs() -> AbstractContextManager[None]:
    """A closure in the place of `Tensor.item`: dynamo breaks at it again and again."""

    def made(original: Any) -> Any:
        def item(self: torch.Tensor) -> Any:
            return original(self)

        return item

    return _patched(torch.Tensor, "item", made)


def moves_warnings() -> AbstractContextManager[None]:
    """A Python function in the place of `from_numpy`: PyTorch's C++ warnings then name its line, not the user's."""

    def made(original: Any) -> Any:
        def from_numpy(array: Any) -> Any:
            return original(array)

        return from_numpy

    return _patched(torch, "from_numpy", made)


def warns() -> AbstractContextManager[None]:
    """Warn on each read, in a program that did not ask for it."""

    def made(original: Any) -> Any:
        def tolist(self: torch.Tensor) -> Any:
            warnings.warn("a read", stacklevel=2)
            return original(self)

        return tolist

    return _patched(torch.Tensor, "tolist", made)


def wraps_errors() -> AbstractContextManager[None]:
    """Pass on an exception as another one."""

    def made(original: Any) -> Any:
        def numpy(self: torch.Tensor, **options: Any) -> Any:
            try:
                return original(self, **options)
            except RuntimeError as error:
                raise RuntimeError(f"watched: {error}") from None

        return numpy

    return _patched(torch.Tensor, "numpy", made)


def changes_values() -> AbstractContextManager[None]:
    """Turn a negative zero into zero in what `numpy` hands out: equal by ``==``, another bit pattern."""

    def made(original: Any) -> Any:
        def numpy(self: torch.Tensor, **options: Any) -> Any:
            found = original(self, **options)
            return np.asarray(found + 0) if found.dtype.kind == "f" and found.size else found

        return numpy

    return _patched(torch.Tensor, "numpy", made)


@contextlib.contextmanager
def leaves_a_tracer() -> Iterator[None]:
    """Forget to take the trace function away."""
    yield
    sys.settrace(lambda frame, event, argument: None)


BREACHES: Final[dict[str, Callable[[], AbstractContextManager[Any]]]] = {
    breach.__name__: breach
    for breach in (
        consumes_torch_random,
        consumes_python_random,
        bumps_versions,
        swallows_versions,
        removes_in_place_check,
        breaks_pickling,
        breaks_graphs,
        moves_warnings,
        warns,
        wraps_errors,
        changes_values,
        leaves_a_tracer,
    )
}
