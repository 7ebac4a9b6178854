"""Whether the way from one instruction of a function to another can lead through lines that do not lie between the two.

``if turn % 4: loss.backward()``: between two backwards the loop turns three times, and what it runs then stands above both of
them. Nothing passes either end meanwhile, so only the code can tell. Exceptions' ways are not looked at.
"""

from __future__ import annotations

import dis
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Final

from ..expressions import WRITING

_JUMPS: Final = frozenset({*dis.hasjrel, *dis.hasjabs, *getattr(dis, "hasjump", ())})
_ALWAYS: Final = frozenset(
    {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_NO_INTERRUPT", "JUMP_ABSOLUTE"}
)
_ENTERING: Final = frozenset({"BEFORE_WITH", "BEFORE_ASYNC_WITH", "SETUP_WITH", "SETUP_ASYNC_WITH", "LOAD_SPECIAL"})
_LAST: Final = frozenset({"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"})


@lru_cache(maxsize=256)
def goes_round(code: CodeType, first: int, last: int) -> bool:
    """Whether there is such a way from the instruction at ``first`` to the one at ``last`` that passes neither again.

    False where no way at all is found.
    """
    instructions = list(dis.get_instructions(code))
    after, before = _ways(instructions), dict[int, list[int]]()
    for at, following in after.items():
        for one in following:
            before.setdefault(one, []).append(at)
    offsets = list(after)
    first, last = (offsets[bisect_right(offsets, lasti) - 1] for lasti in (first, last))  # a call's may lie in its caches
    lines = _lines(code)
    busy = _busy(instructions) - _leaving(instructions, lines)
    between = _reached(after, after[first], last) & _reached(before, before.get(last, ()), first) & busy
    low, high = lines.get(first), lines.get(last)
    if low is None or high is None:
        return False
    return any(line is not None and not low <= line <= high for line in (lines.get(at) for at in between - {first, last}))


def _ways(instructions: Sequence[dis.Instruction]) -> dict[int, list[int]]:
    """From each instruction's offset to those of the ones that may follow it."""
    ways: dict[int, list[int]] = {}
    for index, one in enumerate(instructions):
        following = [one.argval] if one.opcode in _JUMPS else []
        if one.opname not in _ALWAYS and one.opname not in _LAST and index + 1 < len(instructions):
            following.append(instructions[index + 1].offset)
        ways[one.offset] = following
    return ways


def _busy(instructions: Sequence[dis.Instruction]) -> set[int]:
    """Instructions that may write by what they do: that the head of a loop is passed is no turn of it."""
    return {one.offset for one in instructions if one.opname.startswith(WRITING)}


def _leaving(instructions: Sequence[dis.Instruction], lines: Mapping[int, int | None]) -> set[int]:
    """What leaves a ``with`` block: it stands behind it, but has the line of its head."""
    entered: dict[int | None, int] = {}
    for one in instructions:
        if one.opname in _ENTERING:
            entered.setdefault(lines.get(one.offset), one.offset)
    return {one.offset for one in instructions if entered.get(lines.get(one.offset), one.offset) < one.offset}


def _reached(ways: Mapping[int, Iterable[int]], begin: Iterable[int], end: int) -> set[int]:
    """All that can be reached without going through ``end``."""
    found: set[int] = set()
    waiting = list(begin)
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            if at != end:
                waiting += ways.get(at, ())
    return found


def _lines(code: CodeType) -> dict[int, int | None]:
    return {at: line for start, end, line in code.co_lines() for at in range(start, end, 2)}
