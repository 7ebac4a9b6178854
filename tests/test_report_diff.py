"""What changed between two reports, and what of it fails a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from report_samples import Samples
from tensorwatch_guard.report.diff import difference, fail_on

if TYPE_CHECKING:
    from pathlib import Path

    from tensorwatch_guard.words import Finding


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return Samples(tmp_path)


def at_rate(finding: Finding, count: int, steps: int):
    return replace(finding, count=count, per_step=count / steps)


def test_new_and_gone(samples: Samples):
    found = difference(samples.report(samples.item()), samples.report(samples.to_device()))
    assert [f.op for f in found.new] == ["Tensor.to"]
    assert [f.op for f in found.gone] == ["Tensor.item"]
    assert found
    assert found.same == 0


def test_no_difference(samples: Samples):
    found = samples.broken().diff(samples.broken())
    assert not found
    assert str(found) == "no difference (12 findings in both)"


def test_moved_lines_and_times_are_no_difference(samples: Samples):
    item = samples.item()
    moved = replace(item, site=replace(item.site, line=99, end_line=99), blocked_s=99.0, bytes=1)
    assert not difference(samples.report(item), samples.report(moved))


@pytest.mark.parametrize(
    ("before", "after", "sort"),
    [
        ((100, 100), (50, 50), None),  # a shorter run at the same rate
        ((100, 100), (100, 50), None),  # so few steps more: the same count is the same
        ((200, 100), (150, 50), "more"),  # fewer in all, more a step
        ((300, 100), (100, 50), "less"),
        ((1, 1000), (2, 1000), "more"),  # rare: counts are compared
        ((1, 1000), (1, 100), None),
        ((2, 100), (1, 100), "less"),
    ],
)
def test_more_and_less_are_rates_where_rates_say_something(
    samples: Samples, before: tuple[int, int], after: tuple[int, int], sort: str | None
):
    old = samples.report(at_rate(samples.item(), *before), run={"steps": before[1]})
    new = samples.report(at_rate(samples.item(), *after), run={"steps": after[1]})
    found = difference(old, new)
    assert [name for name in ("more", "less") if getattr(found, name)] == ([sort] if sort else [])
    assert found.same == (0 if sort else 1)


def test_without_steps_counts_are_compared(samples: Samples):
    old = samples.report(replace(samples.item(), count=10, per_step=0.0), run={"steps": 0})
    new = samples.report(replace(samples.item(), count=11, per_step=0.0), run={"steps": 0})
    (change,) = difference(old, new).more
    assert (change.before.count, change.after.count) == (10, 11)


def test_what_is_allowed_is_not_there(samples: Samples):
    granted = replace(samples.item(), allowed="metrics")
    assert not difference(samples.report(granted), samples.report(granted))
    assert difference(samples.report(granted), samples.report(samples.item())).new
    assert difference(samples.report(samples.item()), samples.report(granted)).gone


def test_failing_is_a_matter_of_sort_and_weight(samples: Samples):
    old = samples.report(samples.module(), samples.to_device(), at_rate(samples.item(), 312, 312))
    new = samples.report(samples.alias(), samples.condition(), at_rate(samples.item(), 624, 312))
    found = difference(old, new)
    assert [f.op for f in found.failing(["new"])] == ["Tensor.__bool__"]
    assert {f.op for f in found.failing(["new"], least="note")} == {"Tensor.__bool__", "torch.from_numpy"}
    assert [f.count for f in found.failing(["more"])] == [624]
    assert [f.op for f in found.failing(["gone", "less"])] == ["Tensor.to"]
    assert found.failing([]) == ()


def test_fail_on_is_read_with_clear_errors():
    assert fail_on("new, more") == ("new", "more")
    assert fail_on("") == ()
    with pytest.raises(ValueError, match="'newer' is not one of new, gone, more, less"):
        fail_on("new,newer")


def test_the_text_says_what_changed_on_one_line_each(samples: Samples):
    old = samples.report(samples.to_device(), at_rate(samples.item(), 312, 312))
    new = samples.report(samples.condition(), at_rate(samples.item(), 624, 312))
    lines = difference(old, new).text().splitlines()
    assert lines[0] == "1 new, 1 gone, 1 more, 0 unchanged"
    told = " ".join(" ".join(lines).split())
    assert (
        "+ warning TWG202 train.py:28 in fit host waits: Tensor.__bool__, 312x, 1.00 a step loss > 100"
        in told
    )
    assert (
        "^ warning TWG201 train.py:30 in fit host waits: Tensor.item, 1.00 -> 2.00 a step loss.item()" in told
    )
    assert "- warning TWG101 train.py:20 in fit copy to device: Tensor.to, 312x" in told
