"""Hints: what several findings say together. No promise is made of what a change would gain.

Reads in a row are seen from the findings alone. What only a probe can know (memory that goes to and fro, a constant
copied again, memory filled on the host) stands as ``details["pattern"]``: ``ping-pong``, ``constant`` or
``fill-then-move``, ``pinned-in-loop``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..words import Finding
    from .model import Report

_NEAR: Final = 4
"""Lines between two reads that one stack could replace."""
_EVERY: Final = 0.5
"""Reads this often a step are worth joining."""
_SCALAR: Final = frozenset({"Tensor.item", "Tensor.__float__", "Tensor.__int__"})
_NAME: Final = re.compile(r"^(?:float\(|int\()?([\w.]+?)(?:\.item\(\)|\))$")
_PATTERNS: Final = {"ping-pong": "TWG702", "constant": "TWG703", "fill-then-move": "TWG704", "pinned-in-loop": "TWG705"}


@dataclass(frozen=True, slots=True)
class Hint:
    """One thing to do about several places."""

    rule: str
    findings: tuple[Finding, ...]
    text: str

    @property
    def per_step(self) -> float:
        return sum(finding.per_step for finding in self.findings)


def hints(report: Report) -> tuple[Hint, ...]:
    """All hints of a report, those that happen most often first."""
    open_ones = [finding for finding in report.findings if finding.allowed is None]
    return tuple(sorted((*_rows(open_ones), *_patterns(open_ones)), key=lambda hint: -hint.per_step))


def _rows(findings: list[Finding]) -> list[Hint]:
    reads = [
        finding
        for finding in findings
        if finding.kind == "sync"
        and finding.op in _SCALAR
        and finding.site is not None
        and finding.per_step >= _EVERY
    ]
    reads.sort(key=_position)
    rows: list[list[Finding]] = []
    for finding in reads:
        if rows and _joins(rows[-1][-1], finding):
            rows[-1].append(finding)
        else:
            rows.append([finding])
    return [Hint("TWG701", tuple(row), _stacked(row)) for row in rows if len(row) > 1]


def _position(finding: Finding) -> tuple[str, str, int, int]:
    site = finding.site
    return (site.file, site.function, site.line, site.column or 0) if site else ("", "", 0, 0)


def _joins(one: Finding, other: Finding) -> bool:
    file, function, line, _ = _position(one)
    next_file, next_function, next_line, _ = _position(other)
    together = abs(one.per_step - other.per_step) < 0.01 * max(one.per_step, other.per_step)
    return (file, function) == (next_file, next_function) and next_line - line <= _NEAR and together


def _stacked(row: list[Finding]) -> str:
    names = [
        match[1] if (match := _NAME.match((f.site.source or "") if f.site else "")) else None for f in row
    ]
    known = [name for name in names if name and len(name) <= 20]
    inside = ", ".join(known) if len(known) == len(row) <= 4 else "..."
    return f"{len(row)} reads in a row: one torch.stack([{inside}]).tolist() instead"


def _patterns(findings: list[Finding]) -> list[Hint]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        rule = _PATTERNS.get(str(finding.details.get("pattern")))
        if rule:
            groups.setdefault(rule, []).append(finding)
    return [Hint(rule, tuple(group), _TEXTS[rule]) for rule, group in groups.items()]


_TEXTS: Final = {
    "TWG702": "the same memory goes to the host and back: do the work in between on the device",
    "TWG703": "the same values are copied again and again: copy them once, before the loop",
    "TWG705": "pinned anew in each step: let the DataLoader pin (pin_memory=True), or fill one pinned buffer again",
    "TWG704": "filled on the host, then moved: make it on the device, torch.randn(..., device=device)",
}
