"""What a kernel needs to know of an operation, read once from its schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

PLAIN: Final = 0
TENSOR: Final = 1
TENSORS: Final = 2
DEVICE: Final = 3
GENERATOR: Final = 4
PINNED: Final = 5

# Operations that take 0-d host tensors as numbers, beside those that PyTorch tags as pointwise.
_TAKES_HOST_NUMBERS: Final = (
    "where", "masked_fill", "masked_fill_", "lerp", "lerp_", "fill", "fill_", "index_fill", "index_fill_",
)  # fmt: skip
_TAKING: Final = ("_foreach_", "_fused_", "_amp_")


def _kind(argument: Any) -> int:
    kind = str(argument.type)
    if argument.name == "pin_memory":
        return PINNED
    if kind in ("Tensor", "Optional[Tensor]"):
        return TENSOR
    if "Tensor" in kind:
        return TENSORS
    if "Device" in kind:
        return DEVICE
    return GENERATOR if "Generator" in kind else PLAIN


def _written(alias: Any) -> bool:
    return alias is not None and alias.is_write


@dataclass(frozen=True, slots=True)
class Plan:
    """One overload.

    Attributes:
        overload: the ``OpOverload``.
        name: its name, ``aten.add.Tensor``.
        base: its name without namespace and overload, ``add``.
        kinds: what each argument is, by position.
        named: the same by name.
        names: the arguments' names, by position.
        views: the result is the argument's own memory in another geometry.
        inplace: position of the argument that is written and returned; None where there is none.
        outs: names of keyword arguments that are written and returned (``out=``).
        returns: whether anything is returned.
        host_numbers: takes 0-d host tensors among device tensors.
        indexes: takes ``indices`` that may be on the host.
        pointwise: PyTorch calls it so; its devices are then checked by TensorIterator.
        structured: generated from one structured kernel.
    """

    overload: Any
    name: str
    base: str
    kinds: tuple[int, ...]
    named: dict[str, int]
    names: tuple[str, ...]
    views: bool
    inplace: int | None
    outs: tuple[str, ...]
    returns: bool
    host_numbers: bool
    indexes: bool
    pointwise: bool
    structured: bool


def plan_of(overload: Any) -> Plan:
    """Read an overload's schema."""
    schema = overload._schema
    arguments = schema.arguments
    kinds = {argument.name: _kind(argument) for argument in arguments}
    written = [argument for argument in arguments if _written(argument.alias_info)]
    aliases = [result.alias_info for result in schema.returns]
    outs = tuple(argument.name for argument in written if argument.kwarg_only)
    inplace = None
    if len(aliases) == 1 and _written(aliases[0]) and not outs:
        names = aliases[0].before_set
        inplace = next(
            i for i, a in enumerate(arguments) if _written(a.alias_info) and a.alias_info.before_set == names
        )
    namespace, _, base = schema.name.partition("::")
    indexes = "indices" in kinds and "index" in base
    pointwise = torch.Tag.pointwise in overload.tags
    return Plan(
        overload=overload,
        name=f"{namespace}.{overload.__name__}",
        base=base,
        kinds=tuple(kinds.values()),
        named=kinds,
        names=tuple(kinds),
        views=not written and any(alias is not None for alias in aliases),
        inplace=inplace,
        outs=outs,
        returns=bool(aliases),
        host_numbers=pointwise or indexes or base in _TAKES_HOST_NUMBERS or base.startswith(_TAKING),
        indexes=indexes,
        pointwise=pointwise,
        structured=torch._C._dispatch_has_kernel_for_dispatch_key(
            overload.name(), "CompositeExplicitAutogradNonFunctional"
        ),
    )
