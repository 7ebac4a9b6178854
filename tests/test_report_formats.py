"""HTML, Markdown and GitHub's annotations: complete, escaped, within limits."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from report_samples import Samples
from tensorwatch_guard.report.formats import FORMATS, render
from tensorwatch_guard.report.github import publish, render_github
from tensorwatch_guard.report.html import render_html
from tensorwatch_guard.report.markdown import code, render_markdown
from tensorwatch_guard.report.merge import merge
from tensorwatch_guard.report.model import Notice, Report, ReportError
from tensorwatch_guard.words import RunInfo

if TYPE_CHECKING:
    from pathlib import Path

EVIL = '<script>alert("`|*x*")</script>'
VOID = {"meta", "br"}


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return Samples(tmp_path)


class Page(html.parser.HTMLParser):
    """Text and tags of a page; fails where tags are not closed in order."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.open, self.text, self.attributes = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag

    def handle_data(self, data: str):
        self.text.append(data)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_every_report(samples: Samples, name: str):
    merged = merge([samples.report(samples.item(), run={"rank": rank, "world_size": 2}) for rank in range(2)])
    nowhere = samples.report(samples.finding("sync", "Tensor.item", None, implicit=True))
    for report in (samples.broken(), samples.slow(), samples.clean(), samples.report(), merged, nowhere):
        assert render(report, name).strip()


def test_unknown_formats_list_the_good_ones(samples: Samples):
    with pytest.raises(ReportError, match="good values: text, json, html, markdown, github"):
        render(samples.clean(), "pdf")


def test_json_is_the_report_file(samples: Samples):
    assert json.loads(render(samples.broken(), "json")) == samples.broken().to_json()


def test_the_page_is_whole_and_loads_nothing(samples: Samples):
    page = render_html(samples.broken())
    read = Page(page)
    assert page.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert not {"src", "href", "onclick", "onload"} & {name for name, _ in read.attributes}
    assert "url(" not in page
    assert "http" not in page
    text = " ".join(" ".join(read.text).split())
    for words in (
        "The gradients are wrong", "same memory since", "written by NumPy", "loss.backward()",
        "host waits: Tensor.item", "metrics every 100 steps", "calls inside compiled regions",
    ):  # fmt: skip
        assert words in text
    assert "prefers-color-scheme:dark" in page


def test_the_expression_is_marked_in_its_line(samples: Samples):
    assert "<pre>x = <mark>x.to(device)</mark></pre>" in render_html(samples.slow())


def test_notebooks_show_a_fragment(samples: Samples):
    shown = samples.slow()._repr_html_()
    Page(shown)
    assert "<html" not in shown
    assert "<div class='twg'>" in shown


def evil(samples: Samples):
    item = samples.item(allowed=None)
    site = replace(item.site, source=EVIL, file=f"/{EVIL}.py", function=EVIL)
    return samples.report(
        replace(item, site=site, op=EVIL, advice=EVIL), replace(item, id="2", site=site, allowed=EVIL),
        blind_spots=(EVIL,), run={"writes": EVIL},
    )  # fmt: skip


def test_nothing_from_the_run_becomes_markup(samples: Samples):
    page = render_html(evil(samples))
    read = Page(page)
    assert "script" not in read.tags
    assert EVIL in " ".join(read.text)
    marked = render_markdown(evil(samples))
    outside = re.sub(r"(`+).+?\1", "", marked)
    assert "<script>" not in outside
    assert "*x*" not in outside.replace("\\*x\\*", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x", "`x`"),
        ("a`b", "`` a`b ``"),
        ("a``b", "``` a``b ```"),
        ("a | b", "`a \\| b`"),
        ("a\n  b", "`a b`"),
    ],
)
def test_inline_code_holds_any_text(text: str, shown: str):
    assert code(text) == shown


def test_markdown_has_verdict_stories_table_and_the_rest_folded(samples: Samples):
    text = render_markdown(samples.broken())
    assert text.startswith("### tensorwatch-guard\n\n**The gradients are wrong")
    assert "- written by NumPy: train.py:8 in refill `buffer[:] = step * 100.0`" in text
    assert (
        "| warning | train.py:20 in fit `x.to(device)` | copy to device TWG101 | 312 | 1.00 | 117 MiB |"
        in text
    )
    assert "<details><summary>" in text
    assert render_markdown(samples.clean()).startswith("**tensorwatch-guard**: nothing to mend")


def github(samples: Samples, tmp_path: Path, report: Report):
    return render_github(report, {"GITHUB_WORKSPACE": str(tmp_path)}).splitlines()


def test_annotations_name_file_line_and_columns_within_the_checkout(samples: Samples, tmp_path: Path):
    (line,) = github(samples, tmp_path, samples.report(samples.to_device()))
    assert line.startswith(
        "::warning file=train.py,line=20,col=13,endColumn=24,title=TWG101 a copy from host"
    )
    assert "x.to(device): copy to device 1.00 times a step, host blocked for up to 400 ms." in line
    assert "%0APin x (DataLoader(pin_memory=True))" in line


def test_annotations_are_errors_for_wrong_results_and_one_a_story(samples: Samples, tmp_path: Path):
    lines = github(samples, tmp_path, samples.broken())
    assert lines[0].startswith("::error file=train.py,line=25,")
    assert len([line for line in lines if line.startswith("::error")]) == 1
    assert not any("TWG104" in line or "TWG602" in line for line in lines)


def test_annotations_are_escaped(samples: Samples, tmp_path: Path):
    item = samples.item(advice="100 % sure:\r\ntwo, lines")
    (line,) = github(samples, tmp_path, samples.report(replace(item, rule="TWG:1,2")))
    assert "title=TWG%3A1%2C2 host waits::" in line
    assert line.endswith("100 %25 sure:%0D%0Atwo, lines.")


def test_github_limits_hold_and_the_rest_is_counted(samples: Samples, tmp_path: Path):
    many = [replace(samples.item(), id=str(at)) for at in range(25)]
    lines = github(samples, tmp_path, samples.report(*many))
    assert len([line for line in lines if line.startswith("::warning")]) == 10
    assert lines[-1] == "tensorwatch-guard: 15 more in the step summary"


def test_files_outside_the_checkout_and_long_expressions(samples: Samples, tmp_path: Path):
    item = samples.item()
    elsewhere = replace(item, site=replace(item.site, file="/usr/lib/x.py"))
    (line,) = github(samples, tmp_path, samples.report(elsewhere))
    assert line.startswith("::warning title=TWG201")
    long = replace(item, site=replace(item.site, end_line=item.site.line + 2))
    (line,) = github(samples, tmp_path, samples.report(long))
    assert f"line={item.site.line},endLine={item.site.line + 2},title" in line


def test_the_step_summary_holds_the_whole_report(samples: Samples, tmp_path: Path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    printed = publish(
        samples.slow(), {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(tmp_path)}
    )
    assert printed.startswith("::warning")
    assert summary.read_text(encoding="utf-8") == "before\n" + render_markdown(samples.slow())
    assert publish(samples.clean(), {}) == render_github(samples.clean(), {})


def test_what_the_guard_says_of_itself_is_in_each_format() -> None:
    report = Report(RunInfo(), notices=(Notice("TWG901", "policy: KeyError: 1"),))
    assert not report.clean
    for name in ("text", "markdown", "github", "html"):
        shown = render(report, name)
        assert "policy: KeyError: 1" in shown
        assert "nothing to mend in what was seen" in shown
