"""The report file: a round trip loses nothing, bad files give one clear line, a failed write leaves the old file."""

from __future__ import annotations

import json
import math
import os
import stat
import threading
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from report_samples import Samples
from tensorwatch_guard.report.formats import render
from tensorwatch_guard.report.model import Notice, Report, ReportError
from tensorwatch_guard.report.schema import from_json, plain

if TYPE_CHECKING:
    from pathlib import Path


def test_a_round_trip_loses_nothing(tmp_path: Path):
    samples = Samples(tmp_path)
    report = samples.broken()
    report.dump(tmp_path / "a.json")
    back = Report.load(tmp_path / "a.json")
    assert back.to_json() == report.to_json()
    assert back.find(kind="alias") == report.find(kind="alias")
    assert str(back) == str(report)


def test_the_text_written_a_finding_at_a_time_is_that_of_the_whole(tmp_path: Path):
    samples = Samples(tmp_path)
    extra = {"future": {"findings": []}, "last": '\n "findings": []'}
    reports = (samples.broken(), samples.report(), samples.report(samples.item(), extra=extra))
    for report in reports:
        report.dump(tmp_path / "a.json")
        text = (tmp_path / "a.json").read_text()
        assert text == json.dumps(report.to_json(), indent=1) + "\n"
        assert text == render(report, "json") + "\n"


def test_writing_needs_no_memory_for_the_whole_text(tmp_path: Path):
    samples = Samples(tmp_path)
    item = samples.item()
    report = samples.report(*(replace(item, id=f"{at:016x}") for at in range(3000)))
    tracemalloc.start()
    report.dump(tmp_path / "a.json")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (tmp_path / "a.json").stat().st_size / 10


def test_the_schema_names_what_the_design_names(tmp_path: Path):
    samples = Samples(tmp_path)
    raw = samples.report(samples.item()).to_json()
    assert raw["schema"] == "tensorwatch-guard/1"
    assert set(raw["run"]) >= {
        "argv", "python", "torch", "numpy", "version", "host", "pid", "rank", "world_size", "started", "duration_s",
        "steps", "aborted", "layers", "writes", "overhead_s",
    }  # fmt: skip
    assert set(raw["findings"][0]) >= {
        "id", "kind", "op", "rule", "severity", "site", "origin", "via", "count", "per_step", "bytes", "blocked_s",
        "blocking", "implicit", "threads", "first_step", "last_step", "allowed", "advice", "related", "details",
    }  # fmt: skip
    assert raw["findings"][0]["site"]["source"] == "loss.item()"


def test_keys_of_a_later_version_are_kept_where_they_stood(tmp_path: Path):
    samples = Samples(tmp_path)
    raw = samples.report(samples.item()).to_json()
    raw["future"] = {"a": [1]}
    raw["run"]["cluster"] = "b"
    raw["findings"][0]["mood"] = "bad"
    raw["findings"][0]["site"]["module"] = "train"
    again = from_json(json.loads(json.dumps(raw))).to_json()
    assert again == raw


def test_notices_are_kept(tmp_path: Path):
    samples = Samples(tmp_path)
    report = samples.report(notices=(Notice("TWG801", "allowed nothing", samples.site("loss.item()"), 2),))
    report.dump(tmp_path / "a.json")
    assert Report.load(tmp_path / "a.json").notices == report.notices


def test_any_value_can_be_dumped(tmp_path: Path):
    class Odd:
        def __str__(self):
            return "odd"

    values = {
        "nan": math.nan, "inf": -math.inf, "bytes": b"\x01\xff", "tuple": (1, 2), "set": {2, 1}, 3: "key", "odd": Odd(),
        "numpy": np.float32(1.5), "true": np.True_, "broken": "\udcff",
    }  # fmt: skip
    samples = Samples(tmp_path)
    samples.report(samples.item(details=values)).dump(tmp_path / "a.json")
    details = Report.load(tmp_path / "a.json").findings[0].details
    assert details["nan"] == "nan"
    assert details["inf"] == "-inf"
    assert details["bytes"] == "01ff"
    assert details["set"] == [1, 2]
    assert details["3"] == "key"
    assert details["odd"] == "odd"
    assert details["numpy"] == 1.5
    assert details["true"] is True
    assert plain({"site": samples.site("loss.item()")})["site"]["line"] == samples.site("loss.item()").line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no report, or a broken one"),
        ("{", "no report, or a broken one"),
        ("[]", "not a report of tensorwatch_guard"),
        ('{"schema": "coverage/3"}', "not a report of tensorwatch_guard"),
        ('{"schema": "tensorwatch-guard/2"}', "update tensorwatch_guard"),
        ('{"schema": "tensorwatch-guard/1", "findings": 3}', "'findings' should be a list"),
        ('{"schema": "tensorwatch-guard/1", "findings": [{}]}', "finding 1 lacks 'id'"),
        ('{"schema": "tensorwatch-guard/1", "run": {"steps": "many"}}', "run: 'steps' has the wrong type"),
        ("[" * 100_000, "no report, or a broken one"),
    ],
)
def test_bad_files_give_one_line_that_names_the_file(tmp_path: Path, content: str, words: str):
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ReportError) as caught:
        Report.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_types_inside_a_finding_are_named(tmp_path: Path):
    samples = Samples(tmp_path)
    raw = samples.report(samples.item()).to_json()
    for key, value, words in (
        ("count", "3", "'count' has the wrong type (str)"),
        ("count", True, "'count' has the wrong type (bool)"),
        ("kind", "magic", "unknown kind 'magic'"),
        ("site", {"line": 3}, "lacks file or line"),
    ):
        broken = json.loads(json.dumps(raw))
        broken["findings"][0][key] = value
        with pytest.raises(ReportError, match=r"finding 1") as caught:
            from_json(broken)
        assert words in str(caught.value)


def test_missing_files_and_binary_files(tmp_path: Path):
    with pytest.raises(ReportError, match="there is no report"):
        Report.load(tmp_path / "nowhere.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ReportError, match="broken"):
        Report.load(tmp_path / "binary")
    with pytest.raises(ReportError, match="cannot read"):
        Report.load(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path):
    samples = Samples(tmp_path)
    path = tmp_path / "report.json"
    samples.slow().dump(path)
    before = path.read_bytes()
    with pytest.raises(ReportError, match="cannot write the report"):
        samples.slow().dump(tmp_path / "no" / "such" / "folder.json")
    folder = tmp_path / "taken.json"
    folder.mkdir()
    with pytest.raises(OSError, match="cannot write the report"):
        samples.slow().dump(folder)
    samples.clean().dump(path)
    assert path.read_bytes() != before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["report.json", "taken.json", "train.py"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path):
    samples = Samples(tmp_path)
    path = tmp_path / "report.json"
    large, small = samples.report(*[samples.item(bytes=at) for at in range(300)]), samples.clean()
    large.dump(path)
    done = threading.Event()
    lengths = set()

    def read():
        while not done.is_set():
            lengths.add(len(Report.load(path).findings))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        small.dump(path)
        large.dump(path)
    done.set()
    reader.join()
    assert lengths <= {300, 3}


def test_links_and_pipes_are_written_through(tmp_path: Path):
    samples = Samples(tmp_path)
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real" / "report.json", tmp_path / "link.json")
    samples.clean().dump(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert len(Report.load(tmp_path / "real" / "report.json").findings) == 3
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(json.loads(pipe.read_text())))
    reader.start()
    samples.clean().dump(pipe)
    reader.join()
    assert got[0]["schema"] == "tensorwatch-guard/1"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
