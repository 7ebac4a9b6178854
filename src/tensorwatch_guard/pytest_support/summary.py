"""The section at the end of a test run: the ten worst findings, the rest counted; annotations on GitHub."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ..expressions import site_at
from ..places import place, whereabouts
from ..policy.message import line_text

if TYPE_CHECKING:
    import pytest

    from .gathered import Gathered, Gathering

MOST_SHOWN: Final = 10


def summary(terminal: pytest.TerminalReporter, gathering: Gathering, *, verbose: bool) -> None:
    """Write the section. A run without anything to mend is one line."""
    worth = [one for one in gathering.worst_first() if one.finding.severity != "note"]
    if not worth and not gathering.stale and not gathering.complaints:
        terminal.write_line(f"tensorwatch_guard: nothing to mend ({gathering.tests} tests guarded)")
        return
    terminal.section("tensorwatch_guard")
    terminal.write_line(f"{len(worth)} to mend, seen in {gathering.to_mend} of {gathering.tests} guarded tests")
    shown = worth if verbose else worth[:MOST_SHOWN]
    for one in shown:
        for line in _lines(one):
            terminal.write_line(line)
    if len(worth) > len(shown):
        terminal.write_line(f"... and {len(worth) - len(shown)} more (-v shows all)")
    for rule, remarks in (("TWG801", gathering.stale), ("TWG803", gathering.complaints)):
        for file, at, text in remarks[:MOST_SHOWN]:
            terminal.write_line(f"{place(site_at(file, at))}: {text}  {rule}")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(terminal, gathering)


def _lines(one: Gathered) -> list[str]:
    finding = one.finding
    head = f"{finding.severity:<8} {whereabouts(finding)}: {line_text(finding)}"
    more = one.tests_in_all - 1
    others = f" and {more} more test{'' if more == 1 else 's'}" if more else ""
    return [head, f"         {one.count}x, in {one.tests[0]}{others}"]


def annotate(terminal: pytest.TerminalReporter, gathering: Gathering) -> None:
    """GitHub's annotations, within its limits, and the step summary that holds the rest."""
    from ..report.github import publish
    from ..report.model import Report
    from ..words import RunInfo

    report = Report(RunInfo(argv=("pytest",)), gathering.findings())
    try:
        terminal.write_line(publish(report))
    except OSError as error:
        terminal.write_line(f"tensorwatch_guard: the step summary cannot be written: {error}")
