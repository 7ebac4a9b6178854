"""What all tests of a run found, added up: in the process that reports, whatever process ran the tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..policy.baseline import Known, entry, pooled
from ..report.schema import from_json
from ..words import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..report.model import Report
    from ..words import Finding

KEPT_TESTS = 3
"""Names of tests that are kept with a finding; of the others only the number."""


class Gathered:
    """One finding in all tests that had it."""

    __slots__ = ("count", "finding", "tests", "tests_in_all")

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        self.count = 0
        self.tests: list[str] = []
        self.tests_in_all = 0

    def add(self, finding: Finding, test: str) -> None:
        """One more test that had it; a write whose line is known stands for one whose line is not."""
        if finding.details.get("exact") and not self.finding.details.get("exact"):
            self.finding = finding
        self.count += finding.count
        self.tests_in_all += 1
        if len(self.tests) < KEPT_TESTS:
            self.tests.append(test)


class Gathering:
    """Everything that came home from the tests."""

    def __init__(self) -> None:
        self.tests = 0
        self.to_mend = 0
        self.found: dict[str, Gathered] = {}
        self.known: dict[str, Known] = {}
        """As a baseline of tests keeps them: with the highest count that any one test had."""
        self.files: set[str] = set()
        """Names of the report files of this run."""
        self._stale: dict[tuple[str, int], str] = {}
        self._used: set[tuple[str, int]] = set()
        self._complaints: dict[tuple[str, int], str] = {}

    def add(self, data: Mapping[str, Any], test: str) -> None:
        """What one test's report carries, as ``parcel`` made it."""
        self.tests += 1
        self.files.update(filter(None, [data.get("file")]))
        findings = from_json({"schema": SCHEMA, "findings": data["findings"]}).findings if data["findings"] else ()
        self.to_mend += any(finding.severity != "note" for finding in findings)
        for key, finding in pooled(findings, lambda _: True).items():
            self.found.setdefault(key, Gathered(finding)).add(finding, test)
            known = self.known.get(key)
            if known is None or finding.count > known.count:
                self.known[key] = entry(replace(finding, per_step=0.0))
        self._used.update((file, line) for file, line in data["used"])
        self._stale.update({(file, line): text for file, line, text in data["stale"]})
        self._complaints.update({(file, line): text for file, line, text in data["complaints"]})

    @property
    def stale(self) -> list[tuple[str, int, str]]:
        """Allowances that let nothing pass in any test that came by."""
        return sorted((*place, text) for place, text in self._stale.items() if place not in self._used)

    @property
    def complaints(self) -> list[tuple[str, int, str]]:
        """Comments that look like allowances and name no kind."""
        return sorted((*place, text) for place, text in self._complaints.items())

    def worst_first(self) -> list[Gathered]:
        """Findings to mend: the weightiest first, then those of most tests."""
        order = {"critical": 0, "error": 1, "warning": 2, "note": 3}
        return sorted(
            self.found.values(), key=lambda one: (order[one.finding.severity], -one.tests_in_all, -one.count)
        )

    def findings(self) -> tuple[Finding, ...]:
        """The same as findings of one run."""
        return tuple(replace(one.finding, count=one.count) for one in self.worst_first())


def parcel(report: Report, kept: Iterable[Finding], used: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """What goes home with a test's report: plain lists, dicts, strings and numbers."""
    wanted = {id(finding) for finding in kept}
    rows = report.to_json()["findings"] if wanted else []
    notices = [(n.rule, n.site, n.text) for n in report.notices if n.site is not None]
    return {
        "findings": [row for row, finding in zip(rows, report.findings, strict=False) if id(finding) in wanted],
        "used": [list(place) for place in used],
        "stale": [[site.file, site.line, text] for rule, site, text in notices if rule == "TWG801"],
        "complaints": [[site.file, site.line, text] for rule, site, text in notices if rule == "TWG803"],
    }
