"""Ranks that no process of ours has started: srun, mpirun, or ``tensorwatch-guard run`` below torchrun.

They meet in a folder beside the report file (or in the machine's temporary one). At its end each leaves its report
there; the lowest rank that is there waits for the others, for a short time and never for one that is gone, and speaks
for all. No process group is asked: at the end of a program it may be broken, and a rank that waits in it would hang.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .. import ranks
from ..report.model import Report, ReportError
from ..reporting import UNFINISHED
from ..values import file_for
from .clock import CLOCK, SECOND
from .family import is_alive
from .parts import together

if TYPE_CHECKING:
    from ..guard import guard

PATIENCE_S: Final = 5.0
"""How long the speaker waits for ranks that are on their way."""
_STRANGERS_S: Final = 2.0
"""And for ranks that were never seen: they have no way to this folder."""
_LOOK_EVERY_S: Final = 0.05
_SHARE: Final = 100
"""One part in so many of the time may go into writing on the way."""


class Siblings:
    """This process among the ranks of its run."""

    def __init__(self, one: guard, rank: int, world: int) -> None:
        config = one.config
        self._guard = one
        self._rank = rank
        self._world = world
        self._json = config.json
        name = hashlib.sha256(ranks.run_id().encode()).hexdigest()[:12]
        if config.json is not None:
            plain = os.path.abspath(config.json.replace("%r", "all").replace("%p", "all"))
            self._folder = f"{plain}.ranks-{name}"
        else:
            user = os.getuid() if hasattr(os, "getuid") else 0
            self._folder = os.path.join(tempfile.gettempdir(), f"tensorwatch-guard-ranks-{user}-{name}")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._clean()
        with open(self._path("here"), "w", encoding="utf-8") as file:
            json.dump({"pid": os.getpid(), "host": platform.node()}, file)
        CLOCK.put(self, SECOND, self._on_the_way)

    def _on_the_way(self) -> int:
        """A rank that is killed leaves what it had seen some seconds before."""
        started = time.perf_counter_ns()
        report = self._guard.report_so_far()
        report = replace(report, run=replace(report.run, extra={**report.run.extra, UNFINISHED: True}))
        if not os.path.isdir(self._folder):
            return 0
        report.dump(self._path("way.json"))
        return max(SECOND, min(_SHARE * (time.perf_counter_ns() - started), 5 * SECOND))

    def gathered(self, report: Report) -> tuple[Report, bool]:
        """The report that is to be shown, and whether this rank is the one to show it."""
        CLOCK.drop(self)
        if not os.path.isdir(self._folder):  # the speaker has spoken, without us
            return report, True
        if self._speaker() != self._rank:
            report.dump(self._path("json"))
            if os.path.exists(self._path("way.json")):
                os.remove(self._path("way.json"))
            return report, False
        parts = self._wait()
        if parts and self._json is not None and "%r" in self._json:
            report.dump(file_for(self._json))
        shutil.rmtree(self._folder, ignore_errors=True)
        return (together(report, parts) if parts else report), True

    def _path(self, ending: str, rank: int | None = None) -> str:
        return os.path.join(self._folder, f"rank-{self._rank if rank is None else rank:05d}.{ending}")

    def _clean(self) -> None:
        """What an earlier run of the same name left."""
        for ending in ("here", "json", "way.json"):
            if os.path.exists(self._path(ending)):
                os.remove(self._path(ending))

    def _speaker(self) -> int:
        present = (rank for rank in range(self._rank) if self._is_there(rank))
        return next(present, self._rank)

    def _is_there(self, rank: int) -> bool | None:
        """Whether a rank runs; None where nobody has seen it."""
        try:
            with open(self._path("here", rank), encoding="utf-8") as file:
                here = json.load(file)
        except (OSError, ValueError):
            return None
        return here["host"] != platform.node() or is_alive(int(here["pid"]))

    def _wait(self) -> list[Report | ReportError]:
        started = time.monotonic()
        while True:
            waited = time.monotonic() - started
            missing = [rank for rank in range(self._world) if rank != self._rank and self._keeps_waiting(rank, waited)]
            if not missing:
                break
            time.sleep(_LOOK_EVERY_S)
        found: list[Report | ReportError] = []
        for rank in range(self._world):
            paths = (self._path("json", rank), self._path("way.json", rank))
            path = next((path for path in paths if os.path.exists(path)), None)
            if rank != self._rank and path is not None:
                try:
                    found.append(Report.load(path))
                except ReportError as error:
                    found.append(error)
        return found

    def _keeps_waiting(self, rank: int, waited: float) -> bool:
        if os.path.exists(self._path("json", rank)):
            return False
        there = self._is_there(rank)
        return waited < (_STRANGERS_S if there is None else PATIENCE_S if there else 0.0)


def meet(one: guard) -> Siblings | None:
    """Join the other ranks of this run; None where there are none, or they cannot be met."""
    rank, world = ranks.rank(), ranks.world_size()
    if rank is None or world is None or world < 2:
        return None
    try:
        return Siblings(one, rank, world)
    except OSError:
        return None


def shown_file(report: Report, path: str) -> str:
    """The file of a report: with ``%r`` a report of several ranks goes to ``all``."""
    rows = report.run.extra.get("processes") or ()
    if "%r" in path and len({row.get("rank") for row in rows} - {None}) > 1:
        return file_for(path.replace("%r", "all"))
    return file_for(path)


__all__ = ["Siblings", "meet", "shown_file"]
