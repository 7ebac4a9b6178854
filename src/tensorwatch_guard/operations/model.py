"""What a row of the operations table is.

One row an operation: the Python names it is called by, the aten overloads it ends in, and pure predicates
over its arguments that say when the host waits, when data moves between devices and what is written although
the schema is silent. The call probes are the rows with Python names; the ops layer and the simulated
accelerator read the rows with overloads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tensorwatch_guard.words import Direction

Arguments = Sequence[Any]
Keywords = Mapping[str, Any]
Predicate = Callable[[Arguments, Keywords], bool]


@dataclass(frozen=True, slots=True)
class Move:
    """Data that crosses a border between devices in one call.

    ``pinned`` speaks of the host's side and is None where there is none (``d2d``); ``blocking`` says whether
    the host waits, ``non_blocking`` what was asked for.
    """

    direction: Direction
    src_device: str
    dst_device: str
    nbytes: int
    pinned: bool | None
    non_blocking: bool
    blocking: bool


Moves = Callable[[Arguments, Keywords], tuple[Move, ...]]
When = Literal["always", "never"] | Predicate
"""``"always"`` and ``"never"`` hold for calls in which some tensor lives on a device;

a predicate gets the aten arguments.
"""

Probe = Literal[
    "read",  # a host read of the tensor itself: read on the CPU, sync on a device
    "print",  # a read for people's eyes; absorbs the many small reads inside
    "look",  # a function that must look at data: its size, its truth
    "move",  # the result may live on another device, or share the tensor's memory
    "assign",  # writes a value into a part of the tensor, wherever the value lives
    "write",  # writes host memory in place, which a copy under way may still read
    "build",  # makes a tensor from host data: shares, copies or moves
    "share",  # hands out the same memory to the other side
    "wait",  # an explicit synchronize
    "load",  # reads a file
    "poll",  # asks whether the device is done
    "module",  # moves a whole module: one transfer with the sum of bytes
    "relocate",  # gives a storage other memory: older aliases dangle
    "state",  # hands out the live tensors of a module
    "save",  # uses what was handed out
    "absorb",  # only swallows what happens inside
]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. All fields but ``name`` may be empty; see the module docstring."""

    name: str
    """What findings call it, such as ``Tensor.item`` or ``torch.unique``."""
    probe: Probe | None = None
    """The call probe that watches the Python names; None where no Python name is patched."""
    targets: tuple[str, ...] = ()
    """Python names to patch, ``module:attribute.path``; a name this torch lacks is skipped."""
    overloads: tuple[str, ...] = ()
    """aten overloads such as ``aten.index.Tensor``;

    a name without an overload part stands for all its overloads.
    """
    waits: When = "never"
    """When the host waits for the device, by the arguments of the overloads."""
    waits_call: Predicate | None = None
    """The same over the arguments of the Python name, where they are laid out otherwise."""
    moves: Moves | None = None
    """What crosses between devices, by the arguments of the overloads; None: nothing ever does."""
    writes: tuple[int, ...] = ()
    """Positions of arguments that are written although the schema does not say so (BatchNorm's running
    statistics).
    """
    writes_when: Predicate | None = None
    """When ``writes`` holds; None: always."""
    bumps: bool = True
    """Whether stock PyTorch bumps the version of what it writes here (fused optimizers do not)."""
    implicit: bool = False
    """No read or copy is written in the user's code: ``if t:``, ``print(t)``, a mask."""
    absorbs: bool = False
    """Happenings inside torch or this package during the call belong to it."""
    remark: str = ""
    """Where the fact was read or measured."""
