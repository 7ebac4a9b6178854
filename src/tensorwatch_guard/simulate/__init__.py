"""A simulated accelerator: GPU code runs unchanged without a GPU, with genuine ``cuda`` tensors over CPU memory.

Importing this room imports no torch. How it is built, and what it cannot do: ``docs/simulated-
accelerator.md``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .accelerator import SimulatedAccelerator

__all__ = ["active", "simulated_accelerator"]


def active() -> str | None:
    """The device type that is being simulated now, such as ``cuda``; None where none is."""
    room = sys.modules.get(f"{__name__}.accelerator")
    return room._inside[-1].name if room is not None and room._inside else None


def simulated_accelerator(
    name: str = "cuda", *, count: int = 1, late_copies: bool = False
) -> SimulatedAccelerator:
    """A context manager in which this process has an accelerator.

    Tensors on it are plain ``torch.Tensor`` objects on the device ``cuda``; their arithmetic is that of the
    CPU. It is process-wide, for all threads. Enter it before the first backward of the process (in
    ``conftest.py``, say): then backward runs on device threads as on a GPU.

    Args:
        name: the device type; only ``cuda`` can be simulated.
        count: how many devices there are, at most 8.
        late_copies: let asynchronous copies complete only when something must wait for them, so that a program that
            does not wait sees what it would see on a busy device.

    Raises:
        ValueError: another name, or fewer than one device.
    """
    if name != "cuda":
        raise ValueError(f"only 'cuda' can be simulated, not {name!r}")
    if not 1 <= count <= 8:
        raise ValueError(f"count must be 1 to 8, not {count!r}")
    from .accelerator import SimulatedAccelerator

    return SimulatedAccelerator(name, count, late_copies=late_copies)
