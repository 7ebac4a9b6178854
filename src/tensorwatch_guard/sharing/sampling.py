"""Which of the many aliases made at one line are watched.

A line that hands out memory a thousand times shows what it does in the first few hundred; after these, the further it
goes the fewer are watched, so that a hot loop pays for counting alone. All are counted.
"""

from __future__ import annotations

from typing import Final

ALWAYS: Final = 256
"""So many of a line are all watched; then about 64 of 256, of 512, of 1024 and so on."""
_BITS: Final = ALWAYS.bit_length() - 1
_SPREAD: Final = 0x9E3779B1
"""2**32 over the golden ratio: its multiples fall evenly, and in step with no loop (every fourth would always be the same
parameter of four)."""
SEEN_OFTEN: Final = 64
PASSING: Final = 15
"""A line that has read more than ``SEEN_OFTEN`` times looks at other memory than the one at hand when no bit of this mask is
set in its count."""


def next_watched(count: int) -> int:
    """The alias of a line that is watched after its ``count``-th. Depends on nothing else: a run repeats."""
    if count < ALWAYS:
        return count + 1
    distance = 2 << (count.bit_length() - _BITS)  # in the middle
    return count + 1 + (count * _SPREAD >> 8 & 0xFFFFFF) % (2 * distance - 1)


def is_often(count: int) -> bool:
    """Whether the ``count``-th read of a line looks at the memory at hand only."""
    return count > SEEN_OFTEN and bool(count & PASSING)
