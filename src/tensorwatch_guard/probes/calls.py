"""The call layer: each row of the operations table that has Python names, with the probe that watches it."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Final

from ..operations import WATCHED, Operation
from . import happen, moves, reads, relocations, shares, spans
from .install import Hook, Installation

MAKERS: Final[dict[str, Callable[[Operation], Hook]]] = {
    "read": reads.read,
    "print": reads.read,
    "look": reads.look,
    "move": moves.move,
    "build": shares.build,
    "share": shares.share,
    "wait": moves.wait,
    "module": moves.module,
    "relocate": relocations.relocate,
    "absorb": moves.absorb,
}


def installation() -> Installation:
    """All call probes and spans, not yet in place."""
    hooks: list[tuple[str, Hook]] = []
    for row in WATCHED:
        hook = MAKERS[row.probe or "absorb"](row)
        hooks += [(target, hook) for target in row.targets]
    hooks += spans.SPANS
    return Installation(hooks, codes(hooks))


def codes(hooks: list[tuple[str, Hook]]) -> tuple[CodeType, ...]:
    """The code of every hook and of what hooks call, for Dynamo to skip."""
    found = {hook.__code__ for _, hook in hooks}
    for room in (happen, moves, reads, relocations, shares):
        found |= {value.__code__ for value in vars(room).values() if hasattr(value, "__code__") and value.__module__ == room.__name__}
    return (*found, *spans.CODES)
