"""Many reports as one: ranks, workers, children, machines.

Counts, bytes and times are summed; details are of the first report that had the finding. What differs between ranks
is kept as figures (``details["ranks"]``): on how many it happened, minimum, median and maximum, and the slowest.
Reports are taken one at a time and dropped, so that a thousand of them fit into little memory.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from os import fspath, walk
from os.path import isdir, join
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from ..rules import worst
from .model import Notice, Report, ReportError, waits_of
from .runs import Runs

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from ..words import Direction, Finding, Related, Severity

MOST_NAMED: Final = 64
"""Ranks that are named one by one, where a finding happened on some only."""
_DEVICE_NUMBER: Final = re.compile(r"\b([a-z]+):\d+$")
_ADDED: Final = ("live", "unwatched")
"""Details that are counts: those of all parts are added up."""
_BLIND: Final = ("more", "ranks", *_ADDED, "blocking_calls", "directions", "processes")


@dataclass(slots=True)
class _Sum:
    """One finding over all reports. Figures of single ranks stand in arrays: 20 bytes a rank."""

    first: Finding
    count: int = 0
    nbytes: int = 0
    blocked_s: float = 0.0
    blocking: bool = False
    waits: int = 0
    added: dict[str, int] = field(default_factory=dict)
    directions: Counter[Direction] = field(default_factory=Counter)
    severity: Severity = "note"
    allowed: bool = True
    threads: dict[str, None] = field(default_factory=dict)
    via: dict[str, None] = field(default_factory=dict)
    related: dict[tuple[str, str], Related] = field(default_factory=dict)
    more: dict[str, int] = field(default_factory=dict)
    roles: dict[str, int] = field(default_factory=dict)
    first_step: int = 0
    last_step: int = 0
    coarse: bool = False
    """Some figures of single ranks were lost in an earlier merge."""
    ranks: array[int] = field(default_factory=lambda: array("i"))
    counts: array[int] = field(default_factory=lambda: array("q"))
    blocked: array[float] = field(default_factory=lambda: array("d"))


class Merger:
    """Adds reports one by one; ``report()`` gives the sum at any time."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}
        self._runs = Runs()
        self._spots: dict[str, None] = {}
        self._notices: dict[tuple[str, str, Any], Notice] = {}
        self._extra: dict[str, Any] = {}
        self._totals: dict[str, float] = {}
        self._only: Report | None = None
        self.parts = 0

    def add(self, report: Report) -> None:
        """Take one more report."""
        rank = self._runs.add(report)
        role = str(report.run.extra.get("role") or "main")
        self.parts += 1
        self._only = report if self.parts == 1 else None
        for finding in report.findings:
            self._add(finding, rank, role)
        for spot in report.blind_spots:
            self._spots.setdefault(spot)
        for notice in report.notices:
            same = (notice.rule, notice.text, notice.site)
            known = self._notices.get(same)
            self._notices[same] = replace(known, count=known.count + notice.count) if known else notice
        for name, value in report.totals.items():
            if isinstance(value, int | float):
                self._totals[name] = self._totals.get(name, 0) + value
        for name, value in report.extra.items():
            self._extra.setdefault(name, value)

    def note(self, rule: str, text: str) -> None:
        """Say something about the merging itself, such as a part that could not be read."""
        self._notices[(rule, text, None)] = Notice(rule, text)

    def _add(self, finding: Finding, rank: int, role: str) -> None:
        known = self._sums.get(finding.id)
        if known is None:
            known = self._sums[finding.id] = _Sum(finding, first_step=finding.first_step)
        elif differs := _differing(known.first.details, finding.details):
            for name in differs:
                known.more[name] = known.more.get(name, 0) + finding.count
        known.count += finding.count
        known.nbytes += finding.bytes
        known.blocked_s += finding.blocked_s
        known.blocking |= finding.blocking
        known.waits += waits_of(finding)
        known.directions.update(finding.directions)
        for name in _ADDED:
            if name in finding.details:
                known.added[name] = known.added.get(name, 0) + int(finding.details[name] or 0)
        known.severity = worst((known.severity, finding.severity)) or "note"
        known.allowed &= finding.allowed is not None
        known.first_step = min(known.first_step, finding.first_step)
        known.last_step = max(known.last_step, finding.last_step)
        known.threads.update(dict.fromkeys(finding.threads))
        known.via.update(dict.fromkeys(finding.via))
        known.related.update({(other.role, other.id): other for other in finding.related})
        for name, value in (finding.details.get("more") or {}).items():
            known.more[name] = known.more.get(name, 0) + int(value)
        for name, value in (finding.details.get("processes") or {role: finding.count}).items():
            known.roles[name] = known.roles.get(name, 0) + int(value)
        _add_ranks(known, finding, rank)

    def report(self) -> Report:
        """The sum of what was added."""
        runs, notices = self._runs, tuple(self._notices.values())
        if self._only is not None:
            return replace(self._only, notices=notices)
        findings = tuple(_finding(known, runs) for known in self._sums.values())
        spots = (*self._spots, *runs.missing())
        return Report(runs.info(), findings, self._totals, spots, dict(self._extra), notices)


def _add_ranks(known: _Sum, finding: Finding, rank: int) -> None:
    """The figures of the rank; those of several, where the finding comes from a report that was merged before."""
    earlier = finding.details.get("ranks")
    if isinstance(earlier, dict) and "each" not in earlier:
        known.coarse = True
        return
    each = earlier["each"] if isinstance(earlier, dict) else [[rank, finding.count, finding.blocked_s]]
    for one, count, blocked in each:
        if known.ranks and known.ranks[-1] == one:  # workers of a rank follow their parent
            known.counts[-1] += int(count)
            known.blocked[-1] += float(blocked)
        else:
            known.ranks.append(int(one))
            known.counts.append(int(count))
            known.blocked.append(float(blocked))


def _differing(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, value in other.items()
        if name not in _BLIND and first.get(name, value) != value and _same_kind(first[name]) != _same_kind(value)
    ]


def _same_kind(value: Any) -> Any:
    """A rank's device is its own: ``cuda:1`` there is ``cuda:0`` here."""
    return _DEVICE_NUMBER.sub(r"\1", value) if isinstance(value, str) else value


def _finding(known: _Sum, runs: Runs) -> Finding:
    details = dict(known.first.details)
    if known.more:
        details["more"] = dict(known.more)
    details.update(known.added)
    if known.blocking and known.waits != known.count:
        details["blocking_calls"] = known.waits
    if len(known.directions) > 1:
        details["directions"] = dict(known.directions.most_common())
    if set(known.roles) - {"main"}:
        details["processes"] = dict(known.roles)
    details.pop("ranks", None)
    if runs.ranks > 1 and not known.coarse:
        details["ranks"] = _rank_figures(known, runs.ranks)
    steps = runs.steps_of(known.ranks)
    return replace(
        known.first,
        count=known.count,
        bytes=known.nbytes,
        blocked_s=known.blocked_s,
        blocking=known.blocking,
        severity=known.severity,
        allowed=known.first.allowed if known.allowed else None,
        per_step=round(known.count / steps, 6) if steps else 0.0,
        first_step=known.first_step,
        last_step=known.last_step,
        threads=tuple(known.threads),
        via=tuple(known.via),
        related=tuple(known.related.values()),
        details=details,
    )


def _rank_figures(known: _Sum, of: int) -> dict[str, Any]:
    """Ranks without the finding count as 0 in the minimum and the median."""
    by_rank: dict[int, tuple[int, float]] = {}
    for rank, count, blocked in zip(known.ranks, known.counts, known.blocked, strict=True):
        if rank >= 0:
            old = by_rank.get(rank, (0, 0.0))
            by_rank[rank] = (old[0] + count, old[1] + blocked)
    absent = of - len(by_rank)
    counts = [count for count, _ in by_rank.values()] + [0] * absent
    blocked_s = [blocked for _, blocked in by_rank.values()] + [0.0] * absent
    figures: dict[str, Any] = {"on": len(by_rank), "of": of, "count": _three(counts)}
    if any(blocked_s):
        figures["blocked_s"] = _three(blocked_s)
        figures["slowest"] = max(by_rank, key=lambda rank: by_rank[rank][1])
    if absent:
        figures["only"] = sorted(by_rank)[:MOST_NAMED]
    if of <= MOST_NAMED:
        figures["each"] = [[rank, *by_rank[rank]] for rank in sorted(by_rank)]
    return figures


def _three(values: list[Any]) -> dict[str, float]:
    return {"min": min(values), "median": median(values), "max": max(values)}


def merge(reports: Iterable[Report]) -> Report:
    """Many reports as one. The reports are taken one at a time: a generator needs memory for one of them.

    Raises:
        ReportError: If there is none.
    """
    merger = Merger()
    for report in reports:
        merger.add(report)
    if not merger.parts:
        raise ReportError("there is no report to merge")
    return merger.report()


def files_in(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """The files that are named, and those that end in ``.json`` in the folders that are, at any depth, in order."""
    for named in paths:
        path = fspath(named)
        if not isdir(path):
            yield path
            continue
        for folder, inner, names in walk(path):
            inner.sort()
            yield from (join(folder, name) for name in sorted(names) if name.endswith(".json"))


def merge_files(paths: Iterable[str | os.PathLike[str]]) -> tuple[Report, tuple[ReportError, ...]]:
    """The reports of many files as one, and why some could not be read; those are named in the report too.

    Raises:
        ReportError: If none of the files holds a report.
    """
    merger, wrong = Merger(), []
    for path in paths:
        try:
            merger.add(Report.load(path))
        except ReportError as error:
            wrong.append(error)
            merger.note("TWG905", str(error))
    if not merger.parts:
        raise (
            wrong[0]
            if len(wrong) == 1
            else ReportError(f"no report in {len(wrong)} files" if wrong else "there is no report file (.json)")
        )
    return merger.report(), tuple(wrong)
