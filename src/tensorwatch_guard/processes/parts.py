"""Part files: one a process, written in one go, read by the process whose guard is open around it.

A part's name says for which guards it is; its ``run`` says which process it is of, whether it is the last word, and
whose child it was.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..report.merge import Merger
from ..report.model import Report, ReportError
from ..report.processes import process_name
from ..reporting import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_ADDED: Final = ("steps", "duration_s", "waits", "blocked_s")
_MOST_NAMED: Final = 8
_PLAIN: Final = re.compile(r"[^\w.-]+")


BEGAN: Final = "began"
"""Ending of the file that stands for a process until it has its first word, or ends in order without one."""


class Silent(NamedTuple):
    """A process that began and has not said a word."""

    pid: int

    def is_gone(self) -> bool:
        """Whether it runs no more: killed, or ended by ``os._exit``."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        try:  # dead, and its parent has not asked for it yet
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[:1] == ["Z"]
        except OSError:
            return False


Part = Report | ReportError | Silent


def part_name(line: Iterable[int], start: int) -> str:
    """The name of this process's part: its ancestors' ids, and when it started (``perf_counter_ns`` of the machine)."""
    host = _PLAIN.sub("-", platform.node())[:60]
    return f"{host}-{os.getpid()}-{start}~{'+'.join(map(str, line))[-150:]}.json"


def is_for(name: str, process: int, since: int) -> bool:
    """Whether a file is the part of a process that descends from ``process`` and was started after ``since``."""
    stem, dot, ending = name.rpartition(".")
    own, _, line = stem.rpartition("~")
    start = own.rpartition("-")[2]
    if dot != "." or ending not in {"json", BEGAN} or not start.isdigit() or int(start) < since:
        return False
    return str(process) in line.split("+")


def worth_keeping(report: Report) -> bool:
    """Whether a process has anything to say: launchers and helpers have not."""
    return bool(report.findings or report.run.steps or report.notices or report.run.rank is not None)


def read(folder: str, since: int, known: dict[str, Part]) -> None:
    """Read the parts of this process's descendants into ``known``; older words of the same process are replaced."""
    try:
        names = os.listdir(folder)
    except OSError:  # nobody had anything to say
        return
    for name in [name for name, part in known.items() if isinstance(part, Silent)]:
        del known[name]
    for name in names:
        if not is_for(name, os.getpid(), since):
            continue
        if name.endswith(BEGAN):
            pid = name.rpartition("~")[0].split("-")[-2]
            if pid.isdigit() and f"{name.removesuffix(BEGAN)}json" not in names and Silent(int(pid)).is_gone():
                known[name] = Silent(int(pid))
            continue
        try:
            known[name] = Report.load(os.path.join(folder, name))
        except ReportError as error:
            known[name] = error


def together(own: Report | None, parts: Iterable[Part]) -> Report:
    """One report of a process (None where it had nothing to say) and its children."""
    found = list(parts)
    merger = Merger()
    if own is not None:
        merger.add(own)
    reports = sorted((part for part in found if isinstance(part, Report)), key=_order)
    for part in reports:
        merger.add(_as_part(part))
    for broken in found:
        if isinstance(broken, ReportError):
            merger.note("TWG905", str(broken))
    silent = [part.pid for part in found if isinstance(part, Silent)]
    if silent:
        merger.note("TWG906", _unheard(silent))
    merged = _by_role(merger.report())
    cut = [part for part in reports if part.run.extra.get(UNFINISHED)]
    return replace(merged, blind_spots=(*merged.blind_spots, _cut_off(cut))) if cut else merged


def _by_role(report: Report) -> Report:
    """One row for all processes of one role: each epoch has workers of its own."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in report.run.extra.get("processes", ()):
        key = (row.get("rank"), row.get("host"), row.get("role"))
        known = rows.setdefault(key, {})
        if not known:
            known.update(row)
            continue
        known["processes"] = known.get("processes", 1) + row.get("processes", 1)
        known["aborted"] = known.get("aborted", False) or row.get("aborted", False)
        for name in _ADDED:
            known[name] = known.get(name, 0) + row.get(name, 0)
    if not rows:
        return report
    return replace(report, run=replace(report.run, extra={**report.run.extra, "processes": list(rows.values())}))


def _order(part: Report) -> tuple[int, bool, str, int]:
    run = part.run
    role = str(run.extra.get("role", ""))
    return (-1 if run.rank is None else run.rank, role != "main", role, run.pid)


def _as_part(part: Report) -> Report:
    kept = {name: value for name, value in part.run.extra.items() if name in {"role", "parent_pid", "processes"}}
    return replace(part, run=replace(part.run, extra=kept))


def _cut_off(parts: list[Report]) -> str:
    names = [f"{process_name(_row(part))} (process {part.run.pid})" for part in parts[:_MOST_NAMED]]
    more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
    return f"the last moments of processes that were killed, or still run: {', '.join(names)}{more}"


def _unheard(pids: list[int]) -> str:
    names = ", ".join(map(str, sorted(pids)[:_MOST_NAMED]))
    more = f" and {len(pids) - _MOST_NAMED} more" if len(pids) > _MOST_NAMED else ""
    which = "process" if len(pids) == 1 else "processes"
    return f"{which} {names}{more}: killed, or ended by os._exit, before the first word"


def _row(part: Report) -> Mapping[str, Any]:
    return {"rank": part.run.rank, "role": part.run.extra.get("role"), "pid": part.run.pid}
