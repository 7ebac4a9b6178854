"""Which programs run in which modes, and the differences that are known and named."""

from __future__ import annotations

import re
from typing import Final

IN_MODES: Final[dict[str, tuple[str, ...]]] = {
    "inductor": ("default",),
    "loading": ("default", "exact", "ops"),
    "compiling": ("default", "exact", "ops"),
    "language": ("default", "exact", "ops"),
    "training": ("default", "exact", "ops"),
    "sharing": ("default", "check", "exact", "ops"),
}
"""Group of programs -> the modes in which it runs."""

KNOWN: Final = {"ops": re.compile(r"[./]grad(#\d+)?/version: ")}
"""Mode -> differences that PyTorch makes under every dispatch mode, an empty one too.

While a mode is on, the engine adds up several gradients of one tensor out of place: equal bits, fewer version bumps.
"""


def known(mode: str, line: str) -> bool:
    """Whether a difference is one of those."""
    return mode in KNOWN and KNOWN[mode].search(line) is not None
