"""A report answers questions, counts, and cannot be changed."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import TYPE_CHECKING

import pytest
import torch

from report_samples import Samples
from tensorwatch_guard import guard
from tensorwatch_guard.report.merge import Merger
from tensorwatch_guard.report.model import Notice, Report
from tensorwatch_guard.words import RunInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_findings_by_kind_and_by_question(tmp_path: Path):
    samples = Samples(tmp_path)
    report = samples.broken()
    assert [f.op for f in report.syncs] == ["Tensor.__bool__", "Tensor.item", "Tensor.item", "Tensor.item"]
    assert len(report.transfers) == 3
    assert len(report.aliases) == 2
    assert {f.details["writer"] for f in report.mutations} == {"numpy", "torch"}
    assert [f.details["type"] for f in report.hazards] == ["stale-gradient"]
    assert [f.op for f in report.refusals] == ["Tensor.numpy"]
    assert report.reads == ()
    item = samples.item()
    assert report.find(op="Tensor.item", line=item.site.line)[0] == item
    assert report.find(kind="sync", file="train.py") == report.syncs
    assert report.find(file=str(samples.file), kind="alias") == report.aliases
    assert report.find(file="rain.py") == ()
    assert report.find(file="other.py") == ()


def test_a_line_within_a_long_expression_is_found(tmp_path: Path):
    samples = Samples(tmp_path)
    item = samples.item()
    long = dataclasses.replace(item, site=dataclasses.replace(item.site, end_line=item.site.line + 2))
    report = samples.report(long)
    assert report.find(line=item.site.line + 1) == (long,)
    assert report.find(line=item.site.line + 3) == ()


def test_findings_without_a_site_are_found_by_kind_only(tmp_path: Path):
    samples = Samples(tmp_path)
    report = samples.report(samples.finding("sync", "Tensor.item", None))
    assert len(report.find(kind="sync")) == 1
    assert report.find(kind="sync", line=1) == ()


def test_totals_count_calls_waits_directions_and_bytes(tmp_path: Path):
    samples = Samples(tmp_path)
    totals = samples.broken().totals
    assert totals["sync"] == 3 * 312 + 4
    assert totals["transfer"] == totals["h2d"] == 2 * 312 + 1
    assert totals["d2h"] == totals["read"] == 0
    assert totals["blocking"] == totals["sync"] + totals["transfer"]
    assert totals["bytes"] == 393_216 * 312 + 64 * 312 + 44_000_000
    assert totals["blocked_s"] == pytest.approx(1.61 + 0.21 + 0.02 + 0.4 + 0.09 + 0.012)
    assert totals["allowed"] == 4
    assert totals["alias"] == 313


def test_only_calls_that_waited_are_waits(tmp_path: Path):
    samples = Samples(tmp_path)
    mixed = samples.to_device(details={"direction": "h2d", "blocking_calls": 12})
    assert samples.report(mixed).totals["blocking"] == 12
    assert samples.report(samples.to_device(blocking=False)).totals["blocking"] == 0


def test_given_totals_are_believed():
    assert Report(RunInfo(), totals={"sync": 7}).totals == {"sync": 7}


def test_the_worst_does_not_count_what_is_allowed(tmp_path: Path):
    samples = Samples(tmp_path)
    assert samples.broken().worst == "error"
    assert samples.slow().worst == "warning"
    assert samples.clean().worst == "note"
    assert samples.report().worst is None
    granted = dataclasses.replace(samples.item(), allowed="metrics")
    assert samples.report(granted).worst is None
    assert samples.report(granted).clean


def test_a_fault_of_the_guard_is_not_clean(tmp_path: Path):
    samples = Samples(tmp_path)
    assert not samples.report(notices=(Notice("TWG901", "IndexError in probes/calls.py"),)).clean
    assert samples.report(notices=(Notice("TWG801", "allow[sync] at train.py:3 allowed nothing"),)).clean


def test_a_report_cannot_be_changed(tmp_path: Path):
    report = Samples(tmp_path).slow()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.findings = ()


def test_metrics_are_flat_numbers_with_rates(tmp_path: Path):
    metrics = Samples(tmp_path).slow().metrics(prefix="guard/")
    assert metrics["guard/sync_per_step"] == pytest.approx(3.0)
    assert metrics["guard/blocking"] == 4 * 312 + 1
    assert metrics["guard/blocked_s"] == pytest.approx(2.252)
    assert all(type(value) is float for value in metrics.values())
    assert "tensorwatch/sync_per_step" not in Report(RunInfo()).metrics()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda report: pickle.loads(pickle.dumps(report))])
def test_a_report_can_be_copied_and_sent_to_another_process(tmp_path: Path, again: Callable[[Report], Report]):
    for report in (Samples(tmp_path).broken(), Report(RunInfo())):
        assert again(report) == report
        assert again(report).to_json() == report.to_json()


def test_a_report_does_not_change() -> None:
    with guard(report=False) as g:
        kept = (tensor := torch.zeros(2)).numpy()
        kept[0] = 1
    report = g.report
    assert tensor[0] == 1
    with pytest.raises(TypeError, match="does not change"):
        report.totals["sync"] = 0  # type: ignore[index]
    with pytest.raises(TypeError, match="does not change"):
        report.mutations[0].details.update(writer="nobody")  # type: ignore[attr-defined]
    for twin in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
        assert twin == report


def test_a_sum_that_goes_on_leaves_its_earlier_report_alone() -> None:
    with guard(report=False) as g:
        torch.ones(1).item()
    merger = Merger()
    merger.add(g.report)
    merger.add(g.report)
    early = merger.report()
    merger.add(g.report)
    assert (early.totals["read"], merger.report().totals["read"]) == (2, 3)
