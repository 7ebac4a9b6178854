"""What child processes saw is held against levels and limits when the guard is left: nothing there stops them.

A limit a run counts all processes together. Limits a step or a place are left alone: the order in time of several processes
is not known here. ``after`` counts a process's own steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..words import Direction, Finding
    from .acts import Act
    from .heed import Policy

    _Way = tuple[str, Direction | None]


def judged(policy: Policy, findings: Iterable[Finding], own: Iterable[Finding]) -> list[tuple[Finding, str]]:
    """Findings in which other processes have a part and that break a level or a limit, each with the reason.

    Args:
        policy: that of the guard.
        findings: those of all processes.
        own: those of the guard's own process, which were judged when they happened.
    """
    here = _counts(own)
    broken: list[tuple[Finding, str]] = []
    spent: dict[int, int] = {}
    for finding in findings:
        if _is_spared(policy, finding):
            continue
        for act, many in _held_against(policy, finding, here):
            if act.setting.level != "error" or (act.setting.implicit_only and not finding.implicit):
                continue
            reason = None
            if act.budget is None or act.budget.limit.n == 0:
                reason = act.reason(finding.kind, many, 0, stopped=False)
            elif act.budget.limit.per == "run":
                budget = act.budget
                spent[id(budget)] = now = spent.get(id(budget), budget.spent(None, 0)) + many
                reason = act.reason(finding.kind, now, 0, stopped=False) if now > budget.limit.n else None
            if reason is not None:
                broken.append((finding, reason))
    return broken


def _is_spared(policy: Policy, finding: Finding) -> bool:
    if finding.allowed is not None or finding.details.get("certain") is False:
        return True
    return finding.last_step < policy.config.after or policy.lets_pass(finding)


def _held_against(policy: Policy, finding: Finding, here: Counter[_Way]) -> Iterator[tuple[Act, int]]:
    """What a finding counts against, and how often other processes than this one did it."""
    for direction, count in _ways(finding):
        foreign = max(count - here[finding.id, direction], 0)
        act = policy.acts.get((finding.kind, direction))
        waits = policy.waits_too(direction, blocking=finding.blocking)
        yield from ((one, foreign) for one in (act, waits) if one is not None and foreign)


def _ways(finding: Finding) -> Iterable[tuple[Direction | None, int]]:
    return finding.directions.items() or [(None, finding.count)]


def _counts(findings: Iterable[Finding]) -> Counter[_Way]:
    found: Counter[_Way] = Counter()
    for finding in findings:
        for direction, count in _ways(finding):
            found[finding.id, direction] += count
    return found
