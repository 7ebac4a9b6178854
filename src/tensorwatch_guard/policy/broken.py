"""Levels and limits that were broken, as remarks of the report: an exception that was raised may have been caught since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stale import Remark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..collector import Collector
    from ..words import Finding


def broken(collector: Collector, found: tuple[Finding, ...]) -> Iterator[Remark]:
    """One remark a place. What the baseline or a rule of the user's own lets pass is left out."""
    policy = collector.policy
    if policy is None:
        return
    told: set[str] = set()
    by_id = {finding.id: finding for finding in reversed(found) if finding.allowed is None}
    for tally, reason in list(policy.broken.values()):
        finding = policy.finding_in(by_id, tally)
        if finding is not None and finding.id not in told and not policy.lets_pass(finding):
            told.add(finding.id)
            yield Remark("TWG805", f"{finding.op}: {reason}", finding.site)
