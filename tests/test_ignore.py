"""``ignore=``: a rule of one's own leaves findings out, and breaks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tensorwatch_guard import ConfigError, GuardViolation, guard

if TYPE_CHECKING:
    from tensorwatch_guard.words import Finding


def work() -> None:
    torch.ones(1).item()
    torch.ones(2).numpy()


def small(finding: Finding) -> bool:
    return finding.kind == "alias" and finding.bytes < 100


def test_what_it_takes_is_in_no_figure_and_the_report_says_so() -> None:
    with guard(ignore=small, report=False) as g:
        work()
    assert [finding.kind for finding in g.report.findings] == ["read"]
    assert g.report.totals["alias"] == 0
    assert [(one.rule, one.text) for one in g.report.notices] == [("TWG804", "ignore=small left out 1 of 2 findings")]


def test_it_keeps_levels_quiet() -> None:
    with guard(alias="error", read="warn", ignore=lambda finding: True, report=False) as g:
        work()
    assert g.violation is None


def test_what_it_does_not_take_still_raises() -> None:
    with guard(alias="error", ignore=small, report=False), pytest.raises(GuardViolation):
        torch.ones(200).numpy()


def test_it_sees_writes_with_their_story() -> None:
    seen = []

    def rule(finding: Finding) -> bool:
        seen.append((finding.kind, [other.role for other in finding.related]))
        return finding.kind == "mutation"

    t = torch.zeros(3)
    with guard(mutation="error", ignore=rule, report=False) as g:
        a = t.numpy()
        a[0] = 1
        g.check()
    assert ("mutation", ["shared-by"]) in seen
    assert g.report.mutations == ()


def test_a_rule_that_fails_ignores_nothing_and_is_reported() -> None:
    with guard(alias="error", ignore=lambda finding: 1 / 0, report=False) as g, pytest.raises(GuardViolation):
        work()
    assert len(g.report.findings) == 2
    assert any(one.rule == "TWG901" and "ZeroDivisionError" in one.text for one in g.report.notices)


def test_it_has_to_be_a_function() -> None:
    with pytest.raises(ConfigError, match="ignore='alias' is no function"):
        guard(ignore="alias")
