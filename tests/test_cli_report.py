"""The commands that read report files, and ``doctor``: what they print, and how they end."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from report_samples import Samples
from tensorwatch_guard.cli import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Samples:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    samples = Samples(tmp_path)
    samples.broken().dump("broken.json")
    samples.report(samples.item()).dump("waits.json")
    samples.report(samples.to_device()).dump("copies.json")
    return samples


def command(*arguments: str) -> int:
    """The exit code, whether it was returned or argparse left with it."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def test_a_report_is_shown_as_text(samples: Samples, capsys: Captured):
    assert command("report", "broken.json") == 0
    assert capsys.readouterr().out.strip() == samples.broken().text(width=100).strip()


@pytest.mark.parametrize(("name", "begins"), [("json", "{"), ("html", "<!"), ("github", "::"), ("markdown", "#")])
def test_every_format(samples: Samples, capsys: Captured, name: str, begins: str):
    assert command("report", "broken.json", "--format", name) == 0
    assert begins in capsys.readouterr().out[:200]


def test_an_unknown_format_lists_the_good_ones(samples: Samples, capsys: Captured):
    assert command("report", "broken.json", "--format", "htlm") == 1
    assert "text, json, html, markdown, github" in capsys.readouterr().err


def test_several_files_become_one(samples: Samples, capsys: Captured):
    assert command("report", "waits.json", "copies.json", "-o", "both.json") == 0
    assert capsys.readouterr().out == ""
    both = json.loads(Path("both.json").read_text())
    assert {one["op"] for one in both["findings"]} == {"Tensor.item", "Tensor.to"}
    assert both["schema"] == "tensorwatch-guard/1"
    assert gc.isenabled()


@pytest.mark.parametrize(("path", "begins"), [("r.html", "<!"), ("r.md", "#"), ("r.txt", "tensorwatch")])
def test_the_output_names_the_format(samples: Samples, path: str, begins: str):
    assert command("report", "broken.json", "--output", path) == 0
    assert begins in Path(path).read_text()[:300]


@pytest.mark.parametrize(
    ("name", "text"),
    [("missing.json", None), ("broken.json", "{"), ("other.json", "[]"), ("later.json", '{"schema": "x/9"}')],
)
def test_a_file_that_is_no_report_is_one_clear_line(tmp_path: Path, capsys: Captured, name: str, text: str | None):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert command("report", str(path)) == 1
    told = capsys.readouterr().err
    assert name in told
    assert len(told.splitlines()) == 1


def test_broken_files_among_good_ones_are_left_out_and_named(samples: Samples, capsys: Captured):
    Path("bad.json").write_text("{")
    assert command("report", "waits.json", "bad.json", "copies.json") == 1
    shown = capsys.readouterr()
    assert "bad.json" in shown.err
    assert "Tensor.to" in shown.out or ".to(device)" in shown.out


def test_an_output_that_cannot_be_written(samples: Samples, capsys: Captured):
    assert command("report", "broken.json", "-o", "missing/r.html") == 1
    assert "missing/r.html cannot be written: No such file or directory" in capsys.readouterr().err


def test_diff_prints_and_fails_only_when_asked(samples: Samples, capsys: Captured):
    assert command("diff", "waits.json", "copies.json") == 0
    assert "1 new, 1 gone" in capsys.readouterr().out
    assert command("diff", "waits.json", "copies.json", "--fail-on", "new,more") == 2
    assert command("diff", "waits.json", "waits.json", "--fail-on", "new,more") == 0


def test_diff_names_its_mistakes(samples: Samples, capsys: Captured):
    assert command("diff", "waits.json", "copies.json", "--fail-on", "newer") == 1
    assert "new" in capsys.readouterr().err
    assert command("diff", "waits.json", "nowhere.json") == 1
    assert "nowhere.json" in capsys.readouterr().err
    assert command("diff", "waits.json") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "required: command"),
        (("rnu",), "invalid choice: 'rnu'"),
        (("report", "--fromat", "html", "x.json"), 'did you mean "--format"'),
        (("report",), "required: FILE"),
    ],
    ids=["nothing", "command", "option", "file"],
)
def test_usage_errors_end_with_one(arguments: tuple[str, ...], told: str, capsys: Captured):
    assert command(*arguments) == 1
    assert told in capsys.readouterr().err


def test_help_and_version_end_well(capsys: Captured):
    from tensorwatch_guard import __version__
    from tensorwatch_guard.options import OPTIONS

    assert command("--version") == 0
    assert capsys.readouterr().out == f"tensorwatch-guard {__version__}\n"
    assert command("run", "--help") == 0
    shown = capsys.readouterr().out
    assert [row.flag for row in OPTIONS if "cli" in row.where and row.flag not in shown] == []


def test_doctor_tells_what_is_there(capsys: Captured):
    assert command("doctor") == 0
    shown = capsys.readouterr().out
    for word in ("installed", "torch", "wrapt", "activation", "layers", "later writes", "private names", "patched"):
        assert word in shown
    assert "torch and torch.Tensor are as they were made" in shown


def test_doctor_inside_a_guard_names_what_is_patched():
    from tensorwatch_guard import guard
    from tensorwatch_guard.doctor import examine

    with guard(report=False):
        inside = {line.name for line in examine().sections[-1].lines}
    assert any(name.endswith("Tensor.item") for name in inside)
    assert {line.name for line in examine().sections[-1].lines} == {"nothing"}


def test_doctor_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: Captured):
    monkeypatch.setenv("TENSORWATCH_GUARD_SNYC", "error")
    assert command("doctor") == 1
    assert 'did you mean "TENSORWATCH_GUARD_SYNC"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        ({"torch": (99, 0)}, "is too old; pip install 'torch>=99.0'"),
        ({"no-such-thing": ()}, "pip install no-such-thing"),
    ],
    ids=["old", "missing"],
)
def test_doctor_says_what_to_install(
    needed: dict[str, tuple[int, ...]], told: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
):
    monkeypatch.setattr("tensorwatch_guard.doctor.NEEDED", needed)
    assert command("doctor") == 1
    assert told in capsys.readouterr().out


def test_doctor_names_what_others_have_wrapped():
    import torch
    import wrapt

    from tensorwatch_guard.doctor import examine

    def pass_on(call: Any, instance: object, args: Any, names: Any) -> object:
        return call(*args, **names)

    handle = wrapt.wrap_object(torch, "nonzero", wrapt.FunctionWrapper, (pass_on,))
    try:
        found = examine()
    finally:
        wrapt.unwrap_object(torch, "nonzero", handle)
    assert [(line.state, line.name) for line in found.sections[-1].lines] == [("", "torch.nonzero")]
    assert found.sound


def test_doctor_reads_the_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured):
    (tmp_path / "pyproject.toml").write_text("[tool.tensorwatch_guard]\nafter = 3\nsync = 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENSORWATCH_GUARD_DISABLE", "1")
    assert command("doctor") == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path}/pyproject.toml names after, sync" in shown
    assert "every guard is off" in shown
