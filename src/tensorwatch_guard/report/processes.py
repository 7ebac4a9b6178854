"""What a merged report says about its processes: one table, and per finding where it happened and how evenly.

A merged run keeps one row a process under ``run.extra["processes"]``; a finding that several ranks could have had
keeps ``details["ranks"]``. Both are written by ``merge``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .wording import number, plural, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..words import Finding
    from .model import Report

_SHOWN_RANKS = 6


def process_rows(report: Report) -> Sequence[Mapping[str, Any]]:
    """The rows of the processes of a merged report; empty otherwise."""
    rows = report.run.extra.get("processes")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list | tuple) else []


def process_name(row: Mapping[str, Any]) -> str:
    """``rank 3``, ``rank 3 dataloader worker 1``, ``main``."""
    rank = f"rank {row['rank']}" if row.get("rank") is not None else ""
    role = str(row.get("role") or "")
    name = " ".join(part for part in (rank, "" if rank and role == "main" else role) if part)
    return name or f"process {row.get('pid', '?')}"


def process_lines(report: Report, most: int | None) -> list[str]:
    """A table of the processes, those that were blocked longest first."""
    rows = sorted(process_rows(report), key=lambda row: -float(row.get("blocked_s") or 0))
    if not rows:
        return []
    lines = [f"{'steps':>8} {'waits':>8} {'blocked*':>9} {'time':>9}  process"]
    for row in rows[:most]:
        ended = "  ended with an exception" if row.get("aborted") else ""
        host = f" on {row['host']}" if row.get("host") else ""
        lines.append(
            f"{number(int(row.get('steps') or 0)):>8} {number(int(row.get('waits') or 0)):>8} "
            f"{seconds(float(row.get('blocked_s') or 0)):>9} {seconds(float(row.get('duration_s') or 0)):>9}  "
            f"{process_name(row)}{host}{ended}"
        )
    if most is not None and len(rows) > most:
        lines.append(
            f"  ... and {plural(len(rows) - most, 'more process', 'more processes')} (verbose shows all)"
        )
    return lines


def spread(finding: Finding) -> list[str]:
    """Where a finding of a merged report happened, and how evenly; empty for a single process."""
    ranks = finding.details.get("ranks")
    if not isinstance(ranks, dict):
        return []
    lines = []
    on, of = ranks.get("on"), ranks.get("of")
    if on and of and on < of:
        only = ranks.get("only")
        names = ", ".join(map(str, only[:_SHOWN_RANKS])) if isinstance(only, list) else ""
        dots = ", ..." if isinstance(only, list) and len(only) > _SHOWN_RANKS else ""
        lines.append(f"on {on} of {of} ranks only" + (f": {names}{dots}" if names else ""))
    blocked, count = ranks.get("blocked_s"), ranks.get("count")
    slowest = f", slowest: rank {ranks['slowest']}" if ranks.get("slowest") is not None else ""
    if isinstance(blocked, dict) and blocked.get("max"):
        lines.append(f"blocked a rank {_three(blocked, seconds)}{slowest}")
    elif isinstance(count, dict) and count.get("min") != count.get("max"):
        lines.append(f"count a rank {_three(count, lambda value: number(round(value)))}")
    return lines


def _three(values: Mapping[str, Any], show: Any) -> str:
    parts = (
        f"{name} {show(values[name])}" for name in ("min", "median", "max") if values.get(name) is not None
    )
    return ", ".join(parts)
