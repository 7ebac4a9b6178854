"""Version bumps that PyTorch loses under a dispatch mode, given back: exactly those, never one more.

PyTorch's own samples (6579 calls of torch 2.13 on the CPU) were run with and without an empty mode: only
``_foreach_*_`` differ. Their CPU kernels (and the slow ones on devices) call one in-place operation a tensor, which
bumps on its own; under a mode those calls run below the key that does it. Each listed tensor gets one bump.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch

Tensor = torch.Tensor
_without_functions: Final = torch._C.DisableTorchFunction
_bump: Final = torch.autograd.graph.increment_version


class Argument(NamedTuple):
    """Where a written argument stands."""

    position: int
    name: str


def written_arguments(func: Any) -> tuple[Argument, ...]:
    """The arguments that a schema names as written."""
    found = enumerate(func._schema.arguments)
    return tuple(Argument(at, one.name) for at, one in found if one.alias_info is not None and one.alias_info.is_write)


def loses_bumps(func: Any) -> bool:
    """Whether the bumps of an overload are lost under a mode."""
    schema = func._schema
    return bool(schema.name.startswith("aten::_foreach_") and schema.name.endswith("_"))


def tensors_at(arguments: Sequence[Argument], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors of these arguments, lists unfolded, in order and as often as they stand there."""
    found: list[Tensor] = []
    for position, name in arguments:
        value = args[position] if position < len(args) else kwargs.get(name)
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [one for one in value if isinstance(one, Tensor)]
    return found


class Bumps:
    """The versions before a call, and the bumps that are owed after it."""

    __slots__ = ("_before",)

    def __init__(self, tensors: Sequence[Tensor], simulated: bool) -> None:
        with _without_functions():
            # A simulated device's kernels bump by themselves, with a mode or without.
            self._before = [
                (one, one._version) for one in tensors if not one.is_inference() and (one.is_cpu or not simulated)
            ]

    def give_back(self) -> None:
        """After the call: one bump for each tensor, as often as it was listed, where the call made none."""
        with _without_functions():
            owed = [one for one, version in self._before if one._version == version]
            if owed:
                _bump(owed)
