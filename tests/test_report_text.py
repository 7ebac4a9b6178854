"""The text report: a verdict first, stories, a table with carets, single lines for the rest; readable anywhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report_samples import STEPS, Samples
from tensorwatch_guard.report.excerpt import cells
from tensorwatch_guard.report.model import Notice
from tensorwatch_guard.report.terminal import Style, style_of
from tensorwatch_guard.report.text import render_text
from tensorwatch_guard.words import Site


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return Samples(tmp_path)


def block(text: str, first: str, lines: int) -> list[str]:
    """The lines of a text from the one that starts like this."""
    every = text.splitlines()
    at = next(number for number, line in enumerate(every) if line.lstrip().startswith(first))
    return every[at : at + lines]


def test_the_verdict_comes_first(samples: Samples):
    lines = samples.broken().text().splitlines()
    assert lines[0] == "tensorwatch-guard: 1 error, 6 warnings"
    assert lines[1] == f"train.py, {STEPS} steps, 41.2 s"
    told = " ".join(" ".join(lines[3:12]).split())
    write, back = samples.site("buffer[:]", "refill").line, samples.site("loss.backward()").line
    assert told.startswith(
        f"WHAT The gradients are wrong ({STEPS} times): train.py:{write} in refill overwrote values that backward "
        f"at train.py:{back} in fit still needed. WHY NumPy,"
    )
    assert "DO Write only after backward, or copy where it is shared: torch.from_numpy(buffer).clone()" in told
    assert "the host waits 5.00 times a step, blocked for up to 2.34 s." in told


def test_lost_time_alone_names_the_place_that_blocks_longest(samples: Samples):
    told = " ".join(" ".join(samples.slow().text().splitlines()[3:12]).split())
    line = samples.site("loss.item()").line
    assert (
        f"The host waits 4.00 times a step, blocked for up to 2.25 s; longest at train.py:{line} in fit."
        in told
    )
    assert "DO Keep loss.detach() and read it every N steps" in told


def test_a_clean_run_is_one_line(samples: Samples):
    assert samples.report(samples.alias(count=14), samples.read()).text() == (
        f"tensorwatch-guard: nothing to mend ({STEPS} steps, 0 waits a step, 14 shared arrays, no write seen)"
    )
    without_steps = samples.report(samples.read(), run={"steps": 0}).text()
    assert without_steps == "tensorwatch-guard: nothing to mend (0 waits, no shared arrays)"


def test_a_clean_run_counts_its_notes_and_says_more_when_asked(samples: Samples):
    report = samples.report(samples.module(), samples.refusal(), samples.allowed_item())
    assert "2 notes, 4 allowed" in report.text()
    assert len(report.text().splitlines()) == 1
    told = report.text(verbose=True, width=120)
    assert "TWG602  train.py:16  model.scale.numpy()  once: the tensor requires a gradient" in told
    assert (
        f"host waits 4 times at train.py:{samples.allowed_item().site.line}: metrics every 100 steps" in told
    )


def test_a_stale_allowance_is_told_in_a_clean_run_too(samples: Samples):
    notice = Notice("TWG801", "allow[sync] 'epoch metric' allowed nothing", samples.site("loss > 100"))
    lines = samples.report(notices=(notice,)).text().splitlines()
    assert len(lines) == 2
    assert lines[1].split() == f"guard TWG801 train.py:{notice.site.line}: {notice.text}".split()


def test_an_aborted_run_says_so(samples: Samples):
    assert "ended with an exception" in samples.report(run={"aborted": True}).text()
    assert "ended with an exception" in samples.report(samples.item(), run={"aborted": True}).text()


def test_a_story_tells_where_it_was_shared_written_and_used(samples: Samples):
    text = samples.broken().text()
    line = samples.site("torch.from_numpy(buffer)").line
    assert block(text, "same memory since", 4) == [
        f"  same memory since  train.py:{line} in fit",
        "      inputs = torch.from_numpy(buffer)",
        "               ^^^^^^^^^^^^^^^^^^^^^^^^",
        "    tensor from array, float32 [5000], 19.5 KiB",
    ]
    assert block(text, "written by NumPy", 3) == [
        f"  written by NumPy  train.py:{samples.site('buffer[:]', 'refill').line} in refill",
        "      buffer[:] = step * 100.0",
        "      ^^^^^^^^^^^^^^^^^^^^^^^^",
    ]
    assert "5,000 elements in [0:5000]: 1.0, 2.0, 3.0, ... -> 100.0, 100.0, 100.0, ..." in " ".join(
        text.split()
    )
    assert block(text, "used by backward", 2)[1] == "      loss.backward()"
    assert text.index("same memory since") < text.index("written by NumPy") < text.index("used by backward")


@pytest.mark.parametrize(("mode", "words"), [("auto", "about 7 writes seen"), ("exact", "7 writes,")])
def test_how_often_a_line_wrote_is_what_was_seen_where_it_was_followed_for_a_few_turns(
    samples: Samples, mode: str, words: str
):
    alias = samples.alias()
    write = replace(samples.write(alias), count=7)
    text = samples.report(alias, write, run={"writes": mode}).text()
    assert block(text, "buffer[:] = step", 3)[-1].strip().startswith(words)


def test_an_interval_shows_the_lines_in_between_and_claims_no_more(samples: Samples):
    text = samples.broken().text()
    first = samples.site("loss.backward()").line
    assert block(text, "written by PyTorch", 4) == [
        f"  written by PyTorch  between train.py:{first} and line {first + 2}",
        f"       {first}  loss.backward()",
        f"       {first + 1}  optimizer.step()",
        f"       {first + 2}  history.append(model.weight.detach().numpy())",
    ]
    assert 'guard(writes="exact") names the line' in " ".join(text.split())


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (None, "loss.backward()", "before train.py:25"),
        ("loss.backward()", None, "after train.py:25"),
        (None, None, "at some time of the run"),
        ("loss.backward()", "loss.backward()", "between two passes of train.py:25"),
        ("optimizer.step()", "loss.backward()", "after train.py:26, before line 25 came next"),
    ],
)
def test_open_and_turning_intervals_are_said_in_words(
    samples: Samples, first: str | None, last: str | None, words: str
):
    ends = [samples.site(end) if end else None for end in (first, last)]
    alias = samples.history_alias()
    write = samples.step_write(alias)
    report = samples.report(alias, replace(write, details={**write.details, "between": ends}))
    assert f"written by PyTorch  {words}" in report.text()


def test_a_loop_that_turned_without_a_look_is_said(samples: Samples):
    alias = samples.history_alias()
    write = samples.step_write(alias)
    ends = [samples.site("optimizer.step()")] * 2
    turned = replace(write, details={**write.details, "between": ends, "since": samples.site("loss.backward()")})
    text = samples.report(alias, turned).text()
    assert f"between train.py:25 and line {ends[0].line}, with turns of a loop in between" in " ".join(text.split())
    unended = replace(write, details={**write.details, "between": ends, "since": ends[0]})
    assert f"written by PyTorch  after train.py:{ends[0].line}" in samples.report(alias, unended).text()


def test_what_was_written_in_the_course_of_one_call_is_told_at_that_call(samples: Samples):
    alias = samples.history_alias()
    write = samples.step_write(alias)
    step = samples.site("optimizer.step()")
    inside = replace(write, site=step, details={**write.details, "between": [step, step], "inside": True})
    text = samples.report(alias, inside).text()
    assert f"written by PyTorch  train.py:{step.line}" in text
    assert "two passes" not in text
    assert "names the line" not in text


def test_a_story_is_told_once_although_two_findings_tell_it(samples: Samples):
    text = samples.broken().text()
    assert text.count("written by NumPy") == 1
    assert text.count("same memory since") == 2


def test_possible_hazards_are_no_alarm(samples: Samples):
    alias = samples.alias()
    write = samples.write(alias)
    report = samples.report(alias, samples.stale(write, alias, certain=False))
    assert report.text().startswith("tensorwatch-guard: nothing to mend")
    assert "perhaps used by backward" in report.text(verbose=True)


def test_the_table_has_figures_carets_and_advice(samples: Samples):
    text = samples.slow().text()
    assert "   count  a step     bytes blocked*" in text
    line = samples.site("x.to(device)").line
    assert block(text, "312    1.00   117 MiB", 4) == [
        "     312    1.00   117 MiB   400 ms  copy to device: Tensor.to  TWG101",
        f"      train.py:{line} in fit",
        "        x = x.to(device)",
        "            ^^^^^^^^^^^^",
    ]
    assert "      do: pin x (DataLoader(pin_memory=True)) and pass non_blocking=True" in text
    assert "host time inside the call: an upper bound" in text
    assert "saving" not in text.lower()


def test_the_line_of_a_library_that_made_the_call_is_shown(samples: Samples):
    origin = Site("/usr/lib/python3.11/site-packages/lightning/loop.py", 70, 70, 0, 5, "advance", "f(x)")
    text = samples.report(samples.item(origin=origin, via=("aten::bincount",))).text()
    assert "called by lightning/loop.py:70 in advance" in text
    assert "inside aten::bincount" in text


def test_ten_are_shown_and_the_rest_counted(samples: Samples):
    many = [replace(samples.item(), id=str(at), count=STEPS + at) for at in range(25)]
    report = samples.report(*many)
    assert report.text().count("host waits: Tensor.item") == 10
    assert "... and 15 more (tensorwatch-guard report -v FILE shows all)" in report.text()
    assert report.text(verbose=True).count("host waits: Tensor.item") == 25


def test_reads_and_unwritten_sharing_are_one_line_each(samples: Samples):
    places = ("loss > 100", "x.to(device)")
    reads = [replace(samples.read(), id=place, site=samples.site(place)) for place in places]
    report = samples.report(samples.item(), samples.alias(live=0, count=12), *reads)
    text = " ".join(report.text(width=120).split())
    assert "host reads 624 of CPU tensors at 2 places, 2.00 a step" in text
    assert "same memory 12 arrays and tensors at 1 place, none still shared at the end, no write seen" in text


def test_hints_join_reads_of_one_step(samples: Samples):
    text = samples.slow().text(width=120)
    line = samples.site("loss.item()").line
    assert f"TWG701  2 reads in a row: one torch.stack([...]).tolist() instead (train.py:{line})" in text
    assert "TWG704  filled on the host, then moved: make it on the device" in samples.broken().text(width=120)


def test_blind_spots_layers_and_own_cost_stand_at_the_end(samples: Samples):
    text = samples.slow().text()
    assert (
        "not seen    calls inside compiled regions (2 were entered)\n            other processes' writes"
        in text
    )
    assert "calls, trace; later writes: auto; the guard's own cost about 410 ms" in text
    assert "(1.0%)" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_page(samples: Samples, width: int):
    text = render_text(samples.broken(), Style(width=width))
    wide = [line for line in text.splitlines() if cells(line) > width]
    assert wide == []


def test_a_long_line_is_cut_around_the_expression(samples: Samples):
    text = render_text(samples.report(samples.mean_item()), Style(width=80))
    at = next(
        number
        for number, line in enumerate(text.splitlines())
        if "...mean" in line or "mean().item()" in line
    )
    source, marks = text.splitlines()[at : at + 2]
    start = marks.index("^")
    assert source[start:].startswith("(model(x)")
    assert source[start : start + marks.count("^")].endswith("item()")


def test_wide_characters_move_the_carets(samples: Samples, tmp_path: Path):
    file = tmp_path / "wide.py"
    file.write_text('print("長い", loss.item())\n', encoding="utf-8")
    site = Site(str(file), 1, 1, 12, 23, "<module>", "loss.item()")
    text = samples.report(replace(samples.item(), site=site)).text()
    source, marks = block(text, 'print("長い"', 2)
    assert cells(source[: source.index("loss")]) == marks.index("^")


def test_an_expression_over_several_lines_is_marked_to_the_end_of_its_first(samples: Samples, tmp_path: Path):
    file = tmp_path / "long.py"
    file.write_text("x = torch.stack(\n    [a, b]\n).tolist()\n", encoding="utf-8")
    site = Site(str(file), 1, 3, 4, 10, "<module>", "torch.stack( [a, b] ).tolist()")
    text = samples.report(replace(samples.item(), site=site)).text()
    assert block(text, "x = torch.stack(", 2) == ["        x = torch.stack(", "            ^^^^^^^^^^^^"]


def test_source_that_changed_since_is_not_marked(samples: Samples):
    report = samples.slow()
    samples.file.write_text("something = else_\n" * 60, encoding="utf-8")
    text = report.text()
    assert "        loss.item()\n" in text
    assert "^" not in text.split("WAITS AND COPIES")[1]


def test_sites_of_a_report_from_elsewhere_show_their_text(samples: Samples):
    item = samples.item()
    report = samples.report(replace(item, site=replace(item.site, file="/nowhere/else.py")))
    assert "        loss.item()\n" in report.text()
    no_source = replace(item, site=Site("/nowhere/else.py", 3))
    assert "/nowhere/else.py:3" in samples.report(no_source).text()
    assert "outside your code" in samples.report(replace(item, site=None)).text()


def test_source_cannot_command_the_terminal(samples: Samples, tmp_path: Path):
    file = tmp_path / "evil.py"
    file.write_text('x = "\x1b[2J".join(loss.item())\n', encoding="utf-8")
    site = Site(str(file), 1, 1, 16, 27, "<module>", "loss.item()")
    text = samples.report(replace(samples.item(), site=site)).text()
    assert "\x1b" not in text
    assert 'x = "?[2J".join(loss.item())' in text


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environ", "colored"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_on_a_terminal(samples: Samples, environ: dict[str, str], colored: bool):
    text = render_text(samples.broken(), style_of(Terminal(), environ))
    assert ("\x1b[" in text) is colored


def test_colour_elsewhere_only_by_force(samples: Samples):
    assert not style_of(io.StringIO(), {}).color
    assert style_of(io.StringIO(), {"FORCE_COLOR": "1"}).color
    assert not style_of(io.StringIO(), {"FORCE_COLOR": "0"}).color
    assert "\x1b" not in samples.broken().text()


@pytest.mark.parametrize(
    ("columns", "width"), [("100", 100), ("20", 60), ("500", 120), ("wide", 80), ("", 80)]
)
def test_width_follows_columns_within_reason(columns: str, width: int):
    assert style_of(io.StringIO(), {"COLUMNS": columns}).width == width


SCRIPT = """
import sys
from pathlib import Path
from dataclasses import replace
from report_samples import Samples
from tensorwatch_guard.words import Site
samples = Samples(Path(sys.argv[1]))
item = samples.item()
site = Site(str(samples.file), 1, 1, None, None, "größe", "größe = loss.item()  # →")
report = samples.report(replace(item, site=site))
print(report)
report.print()
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_streams_that_cannot_show_every_character(tmp_path: Path, encoding: str):
    root = Path(__file__).resolve().parents[1]
    env = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    env |= {"PYTHONIOENCODING": encoding, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, env=env, check=True
    )
    shown = {
        "ascii": r"gr\xf6\xdfe = loss.item()  # \u2192",
        "latin-1": r"größe = loss.item()  # \u2192",
        "utf-8": "größe = loss.item()  # →",
    }[encoding]
    for out in (done.stdout, done.stderr):
        text = out.decode(encoding)
        assert " ".join(shown.split()) in " ".join(text.split())
        assert "\x1b" not in text


def test_names_of_files_keep_their_small_letters(samples: Samples) -> None:
    alias = samples.alias()
    told = " ".join(samples.report(alias, samples.write(alias)).text().split())
    write, began = samples.site("buffer[:]", "refill").line, alias.site.line
    assert (
        f"WHAT NumPy wrote at train.py:{write} in refill into memory shared since train.py:{began}"
        in told
    )
    report = samples.report(samples.item(advice="torch.nonzero_static(x, size=n) has a known size"))
    assert "DO torch.nonzero_static(x, size=n) has a known size." in " ".join(report.text().split())


def test_moved_memory_is_the_worst_and_comes_first(samples: Samples) -> None:
    alias = samples.alias()
    moved = samples.finding(
        "hazard",
        "Tensor.resize_",
        samples.site("model.to(device)"),
        count=1,
        details={"type": "dangling-alias", "certain": True, "node": None},
        related=samples.write(alias).related,
    )
    report = samples.report(*samples.broken().findings, moved)
    assert report.text().startswith("tensorwatch-guard: 1 critical")
    told = " ".join(report.text().split())
    began = alias.site.line
    assert (
        f"WHAT Memory shared since train.py:{began} in fit is taken away at train.py:14 in fit"
        in told
    )


def test_what_changed_is_said_as_far_as_it_is_known(samples: Samples) -> None:
    alias = samples.alias()

    def told(**details: Any) -> str:
        write = samples.write(alias, details={"writer": "numpy", "exact": True, **details})
        return " ".join(samples.report(alias, write).text(width=120).split())

    assert "steps 0 to 311; [3]: 1.0 -> 5.0 do:" in told(region="[3]", elements=1, before="1.0", after="5.0")
    assert "2 elements in [3:5]: (not kept) -> 5.0, 6.0" in told(region="[3:5]", elements=2, after="5.0, 6.0")
    assert "steps 0 to 311; in [0:128] do:" in told(region="[0:128]")
    assert "steps 0 to 311 do:" in told()
