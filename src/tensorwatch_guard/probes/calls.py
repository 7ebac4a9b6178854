"""The call layer: each row of the operations table that has Python names, with the probe that watches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..operations import WATCHED, Operation
from . import (
    data,
    dozing,
    flights,
    mapped_files,
    moves,
    ops,
    reads,
    relocations,
    shares,
    silent_writes,
    spans,
    states,
    step_reads,
    temporaries,
)
from .install import Installation
from .probe import Hook, Maker

MAKERS: Final[dict[str, Callable[[Operation], Hook]]] = {
    "read": reads.read,
    "print": reads.read,
    "look": reads.look,
    "move": moves.move,
    "assign": moves.assign,
    "write": flights.write,
    "build": shares.build,
    "share": shares.share,
    "wait": moves.wait,
    "poll": moves.poll,
    "module": moves.module,
    "relocate": relocations.relocate,
    "state": states.take,
    "save": states.save,
    "load": states.load,
    "absorb": moves.absorb,
}


SHORT_WAYS: Final[dict[str, Callable[[Operation], Maker | None]]] = {
    "read": reads.read_method, "share": shares.share_directly, "build": shares.build_directly,
}  # fmt: skip
"""Of these kinds a short way may stand for the function itself."""


def installation() -> Installation:
    """All call probes and spans, not yet in place."""
    hooks: list[tuple[str, Hook]] = []
    of_devices: list[tuple[str, Hook]] = []
    of_sources: list[tuple[str, Hook]] = []
    makers: dict[Hook, Maker] = dict(spans.SHORT_WAYS)
    for row in WATCHED:
        hook = MAKERS[row.probe or "absorb"](row)
        make = SHORT_WAYS[row.probe](row) if row.probe in SHORT_WAYS else None
        if make is not None:
            makers[hook] = make
        some = of_devices if row.probe in ("move", "assign") else of_sources if row.probe == "write" else hooks
        some += [(target, hook) for target in row.targets]
    hooks += (*spans.SPANS, *silent_writes.SILENT_WRITES, *mapped_files.MAPPED)
    taken = data.DataProbe()
    codes = {hook.__code__ for _, hook in (*hooks, *of_devices, *of_sources)} | ops.CODES | taken.codes | {step_reads.CODE}
    codes |= {make(None).__code__ for make in makers.values()}
    others = (taken, step_reads.STEP_READS, temporaries.UNWATCHED_BATCHES, dozing.DOZING)
    return Installation(hooks, codes, others=others, of_devices=of_devices, of_sources=of_sources, makers=makers)
