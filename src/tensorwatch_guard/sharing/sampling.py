"""Which of the many aliases made at one line are watched.

A line that hands out memory a thousand times shows what it does in the first few hundred; after these, the further it
goes the fewer are watched, so that a hot loop pays for counting alone. All are counted.
"""

from __future__ import annotations

from typing import Final

ALWAYS: Final = 256
"""So many of a line are all watched; then 128 of 256, of 512, of 1024 and so on."""
_BITS: Final = ALWAYS.bit_length() - 1
_SPREAD: Final = 0x9E3779B1
"""2**32 over the golden ratio: its multiples fall evenly, and in step with no loop (every fourth would always be the same
parameter of four)."""


def is_watched(count: int) -> bool:
    """Whether the ``count``-th alias of a line is watched. Depends on nothing else: a run repeats."""
    if count <= ALWAYS:
        return True
    return (count * _SPREAD & 0xFFFFFFFF) >> (32 + _BITS - count.bit_length()) == 0
