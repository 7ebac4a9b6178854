"""Many reports as one: sums, what differs between ranks, unlike runs, broken parts, little memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from report_samples import STEPS, Samples
from tensorwatch_guard.report.merge import merge, merge_files
from tensorwatch_guard.report.model import Notice, ReportError

if TYPE_CHECKING:
    from pathlib import Path

    from tensorwatch_guard.words import Finding


@pytest.fixture
def samples(tmp_path: Path):
    return Samples(tmp_path)


def ranked(samples: Samples, rank: int, *findings: Finding, world: int = 4, **run: Any):
    return samples.report(
        *findings, run={"rank": rank, "world_size": world, "pid": 100 + rank, "host": "a", **run}
    )


def item(samples: Samples, rank: int, blocked: float):
    return samples.item(blocked_s=blocked, details={"device": f"cuda:{rank}"})


def test_counts_bytes_and_times_are_summed_and_the_slowest_rank_is_named(samples: Samples):
    times = (1.0, 2.0, 9.0, 2.0)
    merged = merge(ranked(samples, rank, item(samples, rank, blocked)) for rank, blocked in enumerate(times))
    (found,) = merged.findings
    assert found.count == 4 * STEPS
    assert found.bytes == 4 * 4 * STEPS
    assert found.blocked_s == pytest.approx(14.0)
    assert found.per_step == pytest.approx(1.0)
    ranks = found.details["ranks"]
    assert ranks["blocked_s"] == {"min": 1.0, "median": 2.0, "max": 9.0}
    assert ranks["slowest"] == 2
    assert (ranks["on"], ranks["of"]) == (4, 4)
    assert merged.totals["sync"] == merged.totals["blocking"] == 4 * STEPS
    assert "blocked a rank min 1.00 s, median 2.00 s, max 9.00 s, slowest: rank 2" in merged.text(width=120)


def test_each_ranks_own_device_is_no_difference(samples: Samples):
    merged = merge(ranked(samples, rank, item(samples, rank, 1.0)) for rank in range(2))
    assert "more" not in merged.findings[0].details
    other = ranked(samples, 1, samples.item(details={"device": "cpu"}))
    mixed = merge([ranked(samples, 0, item(samples, 0, 1.0)), other])
    assert mixed.findings[0].details["more"] == {"device": STEPS}


def test_what_happens_on_some_ranks_only_is_marked_and_its_rate_is_theirs(samples: Samples):
    first = ranked(samples, 0, samples.item(), samples.condition())
    others = [ranked(samples, rank, samples.item()) for rank in (1, 2, 3)]
    merged = merge([first, *others])
    (condition,) = merged.find(op="Tensor.__bool__")
    assert condition.details["ranks"]["only"] == [0]
    assert condition.details["ranks"]["count"] == {"min": 0, "median": 0, "max": STEPS}
    assert condition.per_step == pytest.approx(1.0)
    assert "on 1 of 4 ranks only: 0" in merged.text(width=120)


def test_ranks_that_left_no_report_are_a_blind_spot(samples: Samples):
    merged = merge(ranked(samples, rank, samples.item()) for rank in (0, 2))
    assert "2 of 4 ranks, which left no report: 1, 3" in merged.blind_spots
    assert merged.findings[0].details["ranks"]["of"] == 2


def test_workers_belong_to_their_parents(samples: Samples):
    main = samples.report(samples.item(), run={"pid": 10, "host": "a"})
    workers = [
        samples.report(
            samples.alias(count=50),
            run={"pid": pid, "host": "a", "steps": 0, "extra": {"role": role, "parent_pid": 10}},
        )
        for pid, role in ((11, "dataloader worker 0"), (12, "dataloader worker 1"))
    ]
    merged = merge([main, *workers])
    (alias,) = merged.aliases
    assert alias.count == 100
    assert alias.per_step == pytest.approx(100 / STEPS, abs=1e-6)
    assert alias.details["processes"] == {"dataloader worker 0": 50, "dataloader worker 1": 50}
    assert "ranks" not in alias.details
    assert alias.details["live"] == 2
    roles = [row["role"] for row in merged.run.extra["processes"]]
    assert roles == ["main", "dataloader worker 0", "dataloader worker 1"]
    text = merged.text(width=120)
    assert "PROCESSES" in text
    assert "dataloader worker 1 on a" in text


def test_unlike_runs_are_combined_and_nothing_is_lost(samples: Samples):
    first = {"host": "a", "torch": "2.12.0", "steps": 10, "duration_s": 5.0, "overhead_s": 1}
    other = {
        "host": "b",
        "torch": "2.13.0",
        "steps": 40,
        "aborted": True,
        "layers": ("calls", "ops"),
        "overhead_s": 2.0,
    }
    one = samples.report(samples.item(), run=first)
    two = samples.report(
        samples.to_device(),
        notices=(Notice("TWG902", "cut"),),
        run=other,
        extra={"future": 1},
    )
    merged = one.merge(two, two)
    assert merged.run.host == "a, b"
    assert merged.run.torch == "2.12.0, 2.13.0"
    assert merged.run.steps == 40
    assert merged.run.duration_s == 41.2
    assert merged.run.overhead_s == 5.0
    assert merged.run.aborted
    assert merged.run.layers == ("calls", "trace", "ops")
    assert merged.extra == {"future": 1}
    assert merged.notices == (Notice("TWG902", "cut", None, 2),)
    assert {finding.kind for finding in merged.findings} == {"sync", "transfer"}


def test_the_weightiest_severity_stays_and_an_allowance_must_hold_everywhere(samples: Samples):
    light, heavy = replace(samples.item(), severity="note", allowed="metrics"), samples.item()
    assert merge([samples.report(light), samples.report(heavy)]).findings[0].severity == "warning"
    assert merge([samples.report(light), samples.report(heavy)]).findings[0].allowed is None
    assert merge([samples.report(light), samples.report(light)]).findings[0].allowed == "metrics"


def test_steps_threads_and_relations_are_joined(samples: Samples):
    alias, history = samples.alias(), samples.history_alias()
    one = replace(samples.write(alias), threads=("MainThread",), first_step=5, last_step=9)
    two = replace(samples.write(history), id=one.id, threads=("loader",), first_step=2, last_step=7)
    (found,) = merge([samples.report(one), samples.report(two)]).findings
    assert (found.first_step, found.last_step) == (2, 9)
    assert found.threads == ("MainThread", "loader")
    assert [other.id for other in found.related] == [alias.id, history.id]


def test_one_report_merged_is_itself(samples: Samples):
    report = samples.broken()
    assert merge([report]).to_json() == report.to_json()


def test_merging_in_two_stages_is_merging_at_once(samples: Samples):
    parts = [ranked(samples, rank, item(samples, rank, float(rank + 1))) for rank in range(4)]
    at_once = merge(parts)
    staged = merge([merge(parts[:2]), merge(parts[2:])])
    assert staged.findings == at_once.findings
    assert staged.totals == at_once.totals
    assert staged.run == at_once.run


def test_broken_and_foreign_files_are_named_and_the_rest_is_merged(samples: Samples, tmp_path: Path):
    good = [tmp_path / f"rank{rank}.json" for rank in range(2)]
    for rank, path in enumerate(good):
        ranked(samples, rank, samples.item(), world=2).dump(path)
    broken, foreign = tmp_path / "broken.json", tmp_path / "foreign.json"
    broken.write_text('{"schema": "tensorwatch-gu')
    foreign.write_text('{"schema": "coverage/7"}')
    merged, wrong = merge_files([good[0], broken, foreign, good[1], tmp_path / "gone.json"])
    assert merged.findings[0].count == 2 * STEPS
    assert [error for error in wrong if isinstance(error, ReportError)] == list(wrong)
    assert len(wrong) == 3
    assert [notice.rule for notice in merged.notices] == ["TWG905"] * 3
    assert str(broken) in merged.notices[0].text
    with pytest.raises(ReportError, match=r"broken\.json"):
        merge_files([broken])
    with pytest.raises(ReportError, match="no report"):
        merge([])


CHILD = """
import sys, resource
from report_samples import Samples
from tensorwatch_guard.report.merge import merge
from tensorwatch_guard.report.model import Report
from tensorwatch_guard.report.schema import from_json
from pathlib import Path
from dataclasses import replace
samples = Samples(Path(sys.argv[1]))
first = samples.item()
def parts():
    for rank in range(int(sys.argv[2])):
        findings = [replace(first, id=f"{at:016x}", details={"device": f"cuda:{rank % 8}"}) for at in range(2000)]
        yield samples.report(*findings, run={"rank": rank, "world_size": 1024})
merged = merge(parts())
assert merged.findings[0].count == first.count * int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_grows_by_a_few_bytes_a_finding_and_rank(tmp_path: Path):
    def peak(ranks: int):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), str(ranks)], capture_output=True, text=True, check=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        return int(done.stdout) * 1024

    few, many = peak(10), peak(90)
    assert (many - few) / (80 * 2000) < 120  # bytes; a kept finding takes ten times as much
