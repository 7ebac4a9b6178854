"""Programs that were drawn when the guard was still wrong about them, smallest form, as the steps of `modelled.programs`."""

from __future__ import annotations

from typing import Final

Step = tuple[str, int, int, int]

TORCH: Final = (0, 0)
NUMPY: Final = (1, 0)
ONCE_WRONG: Final[dict[str, tuple[tuple[int, int], list[Step]]]] = {
    "three arrays of a tensor, one of them lent to PyTorch again, and its array": (
        TORCH, [("share", 0, 0, 0)] * 3 + [("share", 1, 0, 0), ("share", 4, 0, 0)],
    ),
    "written, checked at once": (TORCH, [("share", 0, 0, 0), ("write", 0, 4, 1), ("check", 0, 0, 0), ("share", 0, 0, 0)]),
    "PyTorch writes what is there, much later NumPy something else": (
        NUMPY, [("share", 0, 0, 0), ("write", 1, 4, 0), ("check", 0, 0, 0), ("share", 0, 0, 0), ("write", 0, 4, 1)],
    ),
    "a part of an array is lent again, its first tensor writes": (
        TORCH, [("share", 0, 0, 0), ("view", 5, 1, 1), ("share", 2, 0, 0), ("write", 0, 4, 1)],
    ),
    "an array is lent twice, one tensor writes and dies": (
        NUMPY, [("share", 0, 0, 0), ("share", 0, 0, 0), ("write", 1, 4, 1), ("delete", 1, 0, 0)],
    ),
    "an array is lent and lives on as its view, which is lent too": (
        NUMPY, [("share", 0, 0, 0), ("view", 5, 0, 0), ("delete", 0, 0, 0), ("share", 1, 0, 0)],
    ),
    "changed back behind a second handing out, and again": (
        TORCH,
        [("share", 0, 0, 0), ("write", 0, 4, 1), ("read", 0, 0, 0), ("write", 0, 4, 0), ("share", 0, 0, 0), ("write", 0, 4, 1)],
    ),
    "an array of a dead tensor is lent and written": (
        TORCH, [("share", 0, 0, 0), ("share", 1, 0, 0), ("delete", 0, 0, 0), ("write", 0, 4, 1)],
    ),
    "seen by both, then by the writer alone": (
        TORCH, [("share", 0, 0, 0), ("write", 0, 4, 1), ("delete", 0, 0, 0), ("write", 0, 4, 0)],
    ),
}  # fmt: skip
