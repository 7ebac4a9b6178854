"""The rules: what the guard has to say, as data.

``docs/rules.md`` is written from these tables by ``python -m tensorwatch_guard.rules``.

How much a finding weighs, and why so: a report that cries wolf is thrown away.

- *Note*: true, and nothing to mend. CPU reads, sharing that nobody wrote through, refused conversions (the
  exception told already), copies in the background, waits and copies that happened once in a while
  (evaluation, logging every 100 steps, moving the model at the start), gradients that are only possibly stale.
- *Warning*: costs time in every step, or values changed behind somebody's back: waits, blocking copies,
  writes through the other side.
- *Error*: a result is wrong: a written value was used (stale gradient, a copy in flight).
- *Critical*: memory that is gone, a crash in waiting.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ..words import NOTHING, SEVERITIES, Severity
from .advice import advice, copy_of, shared_at, written_in_place
from .matching import ROWS
from .memory import ALIASES, HAZARDS, MUTATIONS
from .model import Rule
from .movement import READS, SYNCS, TRANSFERS
from .others import ALLOWANCES, HINTS, OWN, REFUSALS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BY_ID", "RULES", "Rule", "advice", "copy_of", "rule_for", "severity_of", "shared_at", "worst", "written_in_place"]

RULES: Final[tuple[Rule, ...]] = (
    *TRANSFERS, *SYNCS, *READS, *ALIASES, *MUTATIONS, *HAZARDS, *REFUSALS, *HINTS, *ALLOWANCES, *OWN,
)  # fmt: skip
BY_ID: Final[Mapping[str, Rule]] = {rule.id: rule for rule in RULES}

RARE: Final = 0.05
"""In one of 20 steps or less is rare: too seldom to cost anything that can be felt."""
_STEPS_TO_TELL: Final = 20


@lru_cache(maxsize=1)
def _unknown() -> Rule:
    title = "something this version has no rule for"
    return Rule("TWG999", "unknown-kind", title, "note", "", "update tensorwatch_guard")


def rule_for(kind: str, op: str, implicit: bool = False, details: Mapping[str, Any] = NOTHING) -> Rule:
    """The rule that speaks of a finding of this kind.

    Args:
        kind: One of the kinds of findings.
        op: The operation's name, such as ``Tensor.item``.
        implicit: Whether no read or copy is written in the user's code.
        details: The finding's details. For a transfer also ``blocking``, which is the finding's own field.
    """
    for row in ROWS:
        if row.fits(kind, op, implicit, details):
            return BY_ID[row.rule]
    return _unknown()


def severity_of(
    rule: Rule, *, count: int = 1, steps: int = 0, consumed: bool = False, at_steps: int | None = None
) -> Severity:
    """What a finding of this rule weighs in a run.

    Args:
        rule: Its rule.
        count: How often it happened.
        steps: Steps of the run, 0 where none were seen.
        consumed: Whether a later write was then used: in backward, in a copy in flight.
        at_steps: In how many of the steps it happened, ``count`` if that is not known: twenty reads at the end of an epoch
            are no reads in a step.
    """
    if rule.id.startswith("TWG4"):
        return "error" if consumed else rule.severity
    if rule.severity != "warning" or not rule.id.startswith(("TWG1", "TWG2")):
        return rule.severity
    often = (count if at_steps is None else min(at_steps, count)) / steps if steps else 0.0
    if rule.only_repeated:
        return "warning" if count > 1 and often > RARE else "note"
    return "note" if steps >= _STEPS_TO_TELL and often <= RARE else "warning"


def worst(severities: Any) -> Severity | None:
    """The weightiest of some severities, None of none."""
    return max(severities, key=SEVERITIES.index, default=None)
