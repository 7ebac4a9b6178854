"""Runs a modelled program under the guard and holds its report against the model.

Told must be what changed and no more: each finding's interval holds a write that changed the alias it names, its elements are
those that differ, its writer is one of those who wrote (or unknown); and each change that the guard had to look at is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from modelled.model import Handed, World
from modelled.programs import Program
from tensorwatch_guard import guard
from tensorwatch_guard.report.model import Report
from tensorwatch_guard.words import Finding

FILE = "/modelled/program.py"


def ran(program: Program, writes: str) -> Report:
    """The report of a guard around the program. Its variables live until the guard is left."""
    code = compile(program.source, FILE, "exec")
    space: dict[str, Any] = {"torch": torch, "np": np, "w": torch.ones(2, requires_grad=True)}
    with guard(writes=writes, report=False) as g:
        space["g"] = g
        exec(code, space)
    report: Report = g.report
    for name in program.world.names.values():
        wanted = [name.memory.values[number] for number in name.shows.reshape(-1).tolist()]
        assert space[name.name].reshape(-1).tolist() == wanted, "the model is wrong"
    return report


def _line(site: Any, last: int) -> int:
    if site is None:
        return last
    return int(site["line"] if isinstance(site, Mapping) else site.line)


class Judge:
    """One run."""

    def __init__(self, program: Program, report: Report, *, exact: bool) -> None:
        self.world: World = program.world
        self.report = report
        self.exact = exact
        self.last = len(program.lines)
        self.by_line = {handed.line + 1: handed for handed in self.world.handed}
        self.told: list[tuple[Finding, list[Handed], int, int]] = []

    def problems(self) -> Iterator[str]:
        """All that does not fit."""
        assert not self.report.notices, self.report.notices
        yield from self._aliases()
        for finding in self.report.mutations:
            yield from self._mutation(finding)
        yield from self._missed()

    # -- aliases -------------------------------------------------------------------------------------------------------

    def _aliases(self) -> Iterator[str]:
        found = {_line(one.site, -1): one for one in self.report.aliases}
        if sorted(found) != sorted(self.by_line) or any(one.count != 1 for one in found.values()):
            yield f"aliases at {sorted(found)}, handed out at {sorted(self.by_line)}"
            return
        for line, handed in self.by_line.items():
            details = found[line].details
            if tuple(details["shape"]) != handed.shows.shape or details["dtype"] != handed.memory.dtype:
                yield f"line {line}: {details}, but it is {handed.shows.shape}"
            live = details["live"]
            if self.world.both_held(handed) and live != 1:
                yield f"line {line}: both sides are held, live is {live}"
            if self.world.alone(handed.memory) and live and handed.route != "capsule":
                yield f"line {line}: one side is held, live is {live}"

    # -- soundness -----------------------------------------------------------------------------------------------------

    def _mutation(self, finding: Finding) -> Iterator[str]:
        details = finding.details
        exact = bool(details["exact"])
        last = _line(finding.site, self.last) - 1
        between = details.get("between")
        first = last - 1 if exact else _line(between[0], 1) - 1
        sites = [_line(one.site, -1) for one in finding.related if one.role == "shared-by"]
        named = [self.by_line[line] for line in sites]
        where = f"{'exact' if exact else 'between'} {first + 1} and {last + 1}, {details['writer']}, shared at {sites}"
        self.told.append((finding, named, first, last))
        if not named:
            yield f"{where}: nothing is named as shared"
        changed = {id(handed): handed.changed(first, last) for handed in named}
        if not any(changed.values()) or (finding.count == 1 and not all(changed.values())):
            yield f"{where}: told, but nothing changed"
            return
        if finding.count == 1:
            yield from self._described(where, details, [(handed, changed[id(handed)]) for handed in named])
        yield from self._writer(where, str(details["writer"]), named, first, last, finding.count)

    @staticmethod
    def _described(where: str, details: Any, named: list[tuple[Handed, set[int]]]) -> Iterator[str]:
        if details["elements"] is not None and details["elements"] not in {len(changed) for _, changed in named}:
            yield f"{where}: {details['elements']} elements told, {[len(changed) for _, changed in named]} changed"
        if not any(_block(handed, changed) == details["region"] for handed, changed in named):
            yield f"{where}: {details['region']}, but it was {[_block(handed, changed) for handed, changed in named]}"

    def _writer(self, where: str, writer: str, named: list[Handed], first: int, last: int, count: int) -> Iterator[str]:
        if writer == "unknown":
            return
        touched = [
            write
            for write in self.world.writes
            if first < write.line <= last
            and any(write.memory is handed.memory and write.elements & handed.changed(first, last) for handed in named)
        ]
        sides = {write.side for write in touched}
        if writer == "torch" and self._counter_moved(named, last):
            return
        if count == 1 and writer not in sides:
            yield f"{where}: written by {sorted(sides)}"

    def _counter_moved(self, named: list[Handed], last: int) -> bool:
        """PyTorch wrote since the last boundary, elsewhere in this memory or what was there already."""
        since = max((line for line in self.world.boundaries if line < last), default=0)
        return any(
            write.side == "torch" and since < write.line <= last and any(write.memory is handed.memory for handed in named)
            for write in self.world.writes
        )

    # -- completeness --------------------------------------------------------------------------------------------------

    def _missed(self) -> Iterator[str]:
        if self.exact:
            for write, handed, elements in self.world.visible:
                left = elements - self._told_of(handed, write.line - 1, write.line)
                if left:
                    yield f"missed: line {write.line + 1} changed {sorted(left)} of what was shared at {handed.line + 1}"
            return
        for demand in self.world.demands:
            left = demand.elements - self._told_of(demand.handed, demand.first, demand.last)
            if left:
                yield (
                    f"missed: between {demand.first + 1} and {demand.last + 1}, {sorted(left)} of what was shared "
                    f"at {demand.handed.line + 1} changed"
                )

    def _told_of(self, asked: Handed, first: int, last: int) -> set[int]:
        """Elements whose change within these lines is told."""
        found: set[int] = set()
        for _, named, began, ended in self.told:
            if first < ended <= last:
                for handed in named:
                    if handed.memory is asked.memory:
                        found |= handed.changed(max(began, first), ended)
        return found


def _block(handed: Handed, changed: set[int]) -> str:
    """The smallest block of indices that holds the changed elements, as reports spell it."""
    shows = handed.shows
    if not shows.shape:
        return "[()]"
    places = np.argwhere(np.isin(shows, sorted(changed)))
    parts = []
    for axis, length in enumerate(shows.shape):
        low, high = int(places[:, axis].min()), int(places[:, axis].max())
        if low == high:
            parts.append(str(low))
        elif high - low + 1 == length and len(shows.shape) > 1:
            parts.append(":")
        else:
            parts.append(f"{low}:{high + 1}")
    return f"[{', '.join(parts)}]"


def judged(program: Program, writes: str) -> list[str]:
    """Runs a program and returns what does not fit the model."""
    return list(Judge(program, ran(program, writes), exact=writes == "exact").problems())

