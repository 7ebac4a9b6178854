"""What a node of a graph keeps for its backward: values it saved, and what a custom function keeps by itself.

Nothing is unpacked: only values saved without hooks are given, so checkpointed parts do not run again and offloaded ones stay
where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch

_PLAIN_DISPATCH: Final[Any] = torch.Tensor.__torch_dispatch__
_RAW: Final = "_raw_saved_"
_MOST_ATTRIBUTES: Final = 64
_plans: dict[type, tuple[tuple[str, str, bool], ...]] = {}

Kept = tuple[str, torch.Tensor, bool]
"""The name under which PyTorch shows it, the value, and whether PyTorch itself sees to it that its version is what it was."""


def saved(node: Any) -> Iterator[Kept]:
    """Values that a node keeps as they are. Nothing of a freed node."""
    plan = _plans.get(type(node))
    if plan is None:
        plan = _plans[type(node)] = _plan(type(node))
    for attribute, shown, by_itself in plan:
        if by_itself and getattr(node, "_saved_training", False):
            continue
        try:
            raw = getattr(node, attribute)
        except RuntimeError:  # the graph was freed
            return
        if isinstance(raw, (tuple, list)):
            for at, one in enumerate(raw):
                yield from _plain(f"{shown}[{at}]", one)
        elif raw is not None:
            yield from _plain(shown, raw)
    if isinstance(node, torch._C._FunctionBase):
        yield from _attributes(node)


def _plan(kind: type) -> tuple[tuple[str, str, bool], ...]:
    """Attribute, shown name, and whether the operation writes it itself, for each saved value of a type of node."""
    if issubclass(kind, torch._C._FunctionBase):
        return (("_raw_saved_tensors", "saved_tensors", False),)
    names = [name for name in vars(kind) if name.startswith(_RAW)]
    # BatchNorm writes its running statistics in training, and does not read them in backward then.
    return tuple((name, name.replace(_RAW, "_saved_", 1), name.startswith(_RAW + "running_")) for name in names)


def _plain(name: str, raw: Any) -> Iterator[Kept]:
    if getattr(raw, "unpack_hook", raw) is None:  # without hooks, and PyTorch tells so
        value = raw.data
        if value is not None and type(value).__torch_dispatch__ is _PLAIN_DISPATCH:  # a wrapper has no memory
            yield name, value, True


def _attributes(node: Any) -> Iterator[Kept]:
    """Tensors and arrays that a custom function put on its context, also in a list or a dictionary: no version is compared."""
    for name, held in list(vars(node).items())[:_MOST_ATTRIBUTES]:
        parts: Any = list(held.values()) if type(held) is dict else held if type(held) in (list, tuple) else (held,)
        for one in parts[:_MOST_ATTRIBUTES]:
            value = _tensor_of(one) if type(one) is np.ndarray else one
            if isinstance(value, torch.Tensor) and type(value).__torch_dispatch__ is _PLAIN_DISPATCH:
                yield f"ctx.{name}", value, False


def _tensor_of(array: np.ndarray[Any, Any]) -> torch.Tensor | None:
    """The same memory; None where PyTorch has no such tensor, or would warn."""
    try:
        return torch.from_numpy(array) if array.flags.writeable else None
    except (TypeError, ValueError):  # a type it does not know, strides that run backwards
        return None
