"""What a report says of a run, put together when it is asked for: findings, notices, blind spots, and what ran."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from . import __version__, ranks
from .collector import MOST_SITES, Collector
from .containment import suppress_faults
from .findings import findings
from .options import KILL_SWITCH, is_killed
from .policy.broken import broken
from .policy.stale import stale_allowances, vanished, without_ignored
from .words import RunInfo

UNFINISHED: Final = "unfinished"
"""In ``run``: the process may have gone on after this was written."""

if TYPE_CHECKING:
    from .guard import guard
    from .report.model import Notice, Report
    from .session import Session


def nothing() -> Report:
    """Of a guard in which there was nothing to tell."""
    from .report.model import Report

    return Report(RunInfo())


def report_of(session: Session, asked: guard, collector: Collector, since: int, *, traced: bool) -> Report:
    """An immutable report of what a guard has seen so far.

    Args:
        session: the one of the process.
        asked: the guard, and
        collector: what it has counted.
        since: serial number of the last alias before the guard was entered.
        traced: the trace layer is on.
    """
    from .report.model import Notice, Report

    memory = session.memory
    live = memory.live(since) if memory is not None else {}
    cuts = memory.writes.severed.cuts if memory is not None else {}
    steps = session.steps.now - collector.first
    found, remarks = without_ignored(session, collector, findings(collector, live, steps, cuts))
    remarks += broken(collector, found)
    if collector.policy is not None and collector.policy.over:
        remarks += stale_allowances(collector, everywhere=asked.is_process_report)
        remarks += vanished(collector, found)
    return Report(
        run=_run_info(session, asked, collector, traced=traced),
        findings=found,
        blind_spots=_blind_spots(session, asked, traced=traced),
        notices=(*_notices(session, collector), *(Notice(*remark) for remark in remarks)),
    )


def on_the_way(report: Report) -> Report:
    """The same, marked as what was known while the program ran: all that a killed run leaves."""
    return replace(report, run=replace(report.run, extra={**report.run.extra, UNFINISHED: True}))


def without_findings(session: Session, asked: guard, collector: Collector, fault: Exception, *, traced: bool) -> Report:
    """What is left when the report itself failed: the run, and why."""
    from .report.model import Notice, Report

    session.fault("report", fault)
    run = RunInfo()
    notices: tuple[Notice, ...] = ()
    with suppress_faults("report"):
        run = _run_info(session, asked, collector, traced=traced)
    with suppress_faults("report"):
        notices = _notices(session, collector)
    return Report(run=run, notices=notices or (Notice("TWG901", f"report: {type(fault).__name__}: {fault}"),))


def _notices(session: Session, collector: Collector) -> tuple[Notice, ...]:
    from .report.model import Notice

    found = [Notice("TWG901", f"{fault.where}: {fault.text}", count=fault.count) for fault in session.faults.values()]
    if collector.cut:
        text = f"more than {MOST_SITES} call sites in one thread: what came after is counted without its place"
        found.append(Notice("TWG902", text, count=collector.cut))
    missed = session.memory.missed() if session.memory is not None else ""
    if missed:
        found.append(Notice("TWG904", missed))
    return tuple(found)


def _run_info(session: Session, asked: guard, collector: Collector, *, traced: bool) -> RunInfo:
    rank, world_size = ranks.among()
    return RunInfo(
        argv=tuple(sys.argv),
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=np.__version__,
        version=__version__,
        host=platform.node(),
        pid=os.getpid(),
        rank=rank,
        world_size=world_size,
        started=asked.started_at,
        duration_s=round(asked.duration, 6),
        steps=session.steps.now - collector.first,
        aborted=collector.aborted,
        layers=("calls", *(("trace",) if traced else ()), *(("ops",) if asked.config.ops else ())),
        writes=session.memory.mode if session.memory is not None else asked.config.writes,
        overhead_s=round(session.overhead_ns / 1e9, 6),
    )


def _blind_spots(session: Session, asked: guard, *, traced: bool) -> tuple[str, ...]:
    if is_killed(os.environ):
        return (f"everything: {KILL_SWITCH} switched the guard off",)
    spots = ["calls inside compiled graphs, TorchScript and C++ extensions"]
    if not traced and session.devices:
        spots.append("waits inside C++ operations: this accelerator has no trace")
    if not asked.config.ops:
        spots.append("copies made in C++ below a watched call (ops=True sees them)")
        if session.memory is not None and session.memory.hazards.in_flight.to_host:
            spots.append("operations on the host that read a copy still in flight (ops=True sees them)")
    else:
        spots.append("operations of threads that ran before the guard was entered")
        if session.devices:
            spots.append("backward of prod and cumprod: under ops=True PyTorch takes formulas that do not wait")
    if session.memory is not None:
        spots += session.memory.blind_spots()
        if not (asked.config.census or asked.is_process_report):
            spots.append("memory that was shared before the guard was entered (census=True looks for it)")
    return tuple(spots)
