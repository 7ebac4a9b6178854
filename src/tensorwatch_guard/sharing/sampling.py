"""Which of the many aliases made at one line are watched.

A line that hands out memory a thousand times shows what it does in the first few hundred; after these, the further it
goes the fewer are watched, so that a hot loop pays for counting alone. All are counted.
"""

from __future__ import annotations

from typing import Final

ALWAYS: Final = 256
"""So many of a line are all watched; then about 64 of 256, of 512, of 1024 and so on."""
FLEETING: Final = 128
"""So many where all of them were dropped at once, as ``x.numpy().mean()`` drops its array; then 32 of 128, of 256 and so on."""
STILL_THERE: Final = 2
"""So many may live on at such a line: the last ones."""
_SPREAD: Final = 0x9E3779B1
"""2**32 over the golden ratio: its multiples fall evenly, and in step with no loop (every fourth would always be the same
parameter of four)."""
SEEN_OFTEN: Final = 64
PASSING: Final = 15
"""A line that has read more than ``SEEN_OFTEN`` times looks at other memory than the one at hand when no bit of this mask is
set in its count."""


def next_watched(count: int, gone: int, passed: int) -> int:
    """The alias of a line that is watched after its ``count``-th.

    ``gone``: of the watched ones those that died as they were born; ``passed``: aliases of that line that were not watched.
    """
    always = FLEETING if count - passed - gone <= STILL_THERE else ALWAYS
    if count < always:
        return count + 1
    distance = 2 << (count.bit_length() - always.bit_length() + 1)  # in the middle
    return count + 1 + (count * _SPREAD >> 8 & 0xFFFFFF) % (2 * distance - 1)


def is_often(count: int) -> bool:
    """Whether the ``count``-th read of a line looks at the memory at hand only."""
    return count > SEEN_OFTEN and bool(count & PASSING)
