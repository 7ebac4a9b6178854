"""Holds a report against the markers of a case and names what is missed, falsely alarmed or told twice.

The rules: a finding of any kind but ``read`` must stand on a line with a marker for it; an alias with no live side and
a hazard that is only possible are never alarms; one finding that knows only an interval explains one marker.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from judging.markers import Case, Marker

Finding = dict[str, Any]


def _is_vague(finding: Finding, exact: bool) -> bool:
    return finding["kind"] == "mutation" and not exact and not (finding.get("details") or {}).get("exact")


def _rows(site: Finding | None, case: Case) -> tuple[int, int] | None:
    """First and last line of a site in the case's own file; None for no site and for other files."""
    if not site or Path(site["file"]).name != case.path.name:
        return None
    return site["line"], site.get("end_line") or site["line"]


def _interval(ends: list[Finding | None], case: Case) -> set[int]:
    """The lines that an interval in time speaks of."""
    every = set(range(1, case.lines + 1))
    rows = [_rows(end, case) for end in ends]
    if any(end and row is None for end, row in zip(ends, rows, strict=True)):
        return set()
    first = rows[0][0] if rows[0] else 1
    last = rows[1][1] if rows[1] else case.lines
    both = rows[0] is not None and rows[1] is not None
    homes = {case.owners.get(first, 0), case.owners.get(last, 0)} if both else {0}
    turned = both and rows[1] is not None and first >= rows[1][0]
    if turned or len(homes) > 1:
        return every  # a loop turned, or a function was left: time, not text
    home = case.owners.get(first if rows[0] else last, 0)
    return {line for line in every if first <= line <= last or case.owners.get(line, 0) != home}


def lines_of(finding: Finding, case: Case, exact: bool) -> set[int]:
    """The lines of the case that a finding speaks of; empty if it speaks of another file."""
    ends = (finding.get("details") or {}).get("between") or []
    if _is_vague(finding, exact) and len(ends) == 2 and any(ends):
        return _interval(ends, case)
    rows = _rows(finding.get("site"), case)
    return set(range(rows[0], rows[1] + 1)) if rows else set()


def _told(finding: Finding) -> str:
    site = finding.get("site") or {}
    return f"{finding['kind']} {finding['op']} at {Path(site.get('file', '?')).name}:{site.get('line')}"


def _place(finding: Finding) -> tuple[Any, ...]:
    site = finding.get("site") or {}
    origin = json.dumps(finding.get("origin"), sort_keys=True)
    return finding["kind"], site.get("line"), site.get("column"), site.get("end_column"), origin


def _alarm(finding: Finding, lines: set[int], markers: Iterable[Marker], case: Case, exact: bool) -> str | None:
    """Why a finding that answers no marker is a false alarm; None if it is none."""
    details = finding.get("details") or {}
    site = finding.get("site")
    if site and _rows(site, case) is None:
        return f"not the user's line: {_told(finding)}"
    if finding["kind"] == "read":
        beside = any(marker.kind == "sync" and marker.line in lines for marker in markers)
        return f"a read beside a sync: {_told(finding)}" if beside else None
    if finding["kind"] == "alias" and details.get("live") == 0:
        return None
    if finding["kind"] == "hazard" and details.get("certain") is False and not exact:
        return None
    return f"false alarm: {_told(finding)} {json.dumps(details)[:300]}"


def problems_of(report: dict[str, Any], case: Case, exact: bool) -> list[str]:
    """What is wrong with ``report``: false alarms, findings told twice, and demands that nothing answers."""
    found: list[str] = []
    markers = case.markers(exact)
    told: set[tuple[Any, ...]] = set()
    for finding in report["findings"]:
        lines = lines_of(finding, case, exact)
        answered = [marker for marker in markers if marker.line in lines and marker.asks_for(finding)]
        if _is_vague(finding, exact):
            answered = sorted(answered, key=lambda marker: marker.explained_by)[:1]
        for marker in answered:
            marker.explained_by += 1
        if not answered:
            alarm = _alarm(finding, lines, markers, case, exact)
            found += [alarm] if alarm else []
        elif not _is_vague(finding, exact):
            if _place(finding) in told:
                found.append(f"told twice: {_told(finding)}")
            told.add(_place(finding))
    found += [f"missed: {marker}" for marker in markers if marker.demanded and not marker.explained_by]
    return found
