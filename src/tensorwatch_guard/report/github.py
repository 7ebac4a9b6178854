"""Annotations for GitHub Actions, within GitHub's limits, and the step summary that holds the rest.

Limits (actions/toolkit, docs/problem-matchers.md): 10 annotations of each kind a step, 50 a job. Paths are relative to
the checkout; what lies outside it is told without a file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ..rules import BY_ID
from .markdown import render_markdown
from .story import order_of, stories
from .verdict import clean_line, costly
from .wording import number, rate, seconds, sentence, times, what

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..words import Finding, Site
    from .model import Report

PER_KIND: Final = 10
PER_JOB: Final = 50
_LEVELS: Final = {"critical": "error", "error": "error", "warning": "warning", "note": "notice"}


def render_github(report: Report, environ: Mapping[str, str] | None = None) -> str:
    """Workflow commands, one a line, errors first; the last line counts what did not fit."""
    environ = os.environ if environ is None else environ
    lines: list[str] = []
    used: dict[str, int] = {}
    left = 0
    for finding in told(report):
        level = _LEVELS[finding.severity]
        if used.get(level, 0) >= PER_KIND or len(lines) >= PER_JOB:
            left += 1
            continue
        used[level] = used.get(level, 0) + 1
        lines.append(_command(level, finding, environ))
    lines += [f"tensorwatch-guard: {notice.text} ({notice.rule})" for notice in report.notices]
    if left:
        lines.append(f"tensorwatch-guard: {number(left)} more in the step summary")
    if not used:
        lines.insert(0, f"tensorwatch-guard: {clean_line(report)}")
    return "\n".join(lines)


def told(report: Report) -> list[Finding]:
    """What is worth an annotation, the weightiest first: one finding a story, then waits and copies. Notes are not."""
    heads = [story.head for story in stories(report) if story.severity != "note"]
    return [*heads, *costly(report)]


def publish(report: Report, environ: Mapping[str, str] | None = None) -> str:
    """Write the step summary where GitHub asks for it; returns the annotations, for the caller to print.

    Raises:
        OSError: If the summary cannot be written.
    """
    environ = os.environ if environ is None else environ
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with open(summary, "a", encoding="utf-8") as stream:
            stream.write(render_markdown(report))
    return render_github(report, environ)


def _command(level: str, finding: Finding, environ: Mapping[str, str]) -> str:
    rule = BY_ID.get(finding.rule)
    title = f"{finding.rule} {rule.title if rule else what(finding)}"
    parts = [*_place(finding.site, environ), f"title={_property(title)}"]
    return f"::{level} {','.join(parts)}::{_data(_message(finding))}"


def _message(finding: Finding) -> str:
    often = f"{rate(finding.per_step)} times a step" if finding.per_step else times(finding.count)
    blocked = f", host blocked for up to {seconds(finding.blocked_s)}" if finding.blocked_s else ""
    source = finding.site.source if finding.site and finding.site.source else finding.op
    rule = BY_ID.get(finding.rule)
    why = f"\n{rule.why}" if rule else ""
    return f"{source}: {what(finding)} {often}{blocked}.{why}\n{sentence(order_of(finding))}"


def _place(site: Site | None, environ: Mapping[str, str]) -> list[str]:
    if site is None:
        return []
    root = os.path.realpath(environ.get("GITHUB_WORKSPACE") or os.getcwd())
    file = os.path.realpath(site.file)
    if not file.startswith(os.path.join(root, "")):
        return []
    parts = [f"file={_property(os.path.relpath(file, root).replace(os.sep, '/'))}", f"line={site.line}"]
    if site.end_line is not None and site.end_line != site.line:
        parts.append(f"endLine={site.end_line}")
    elif (
        site.column is not None and site.end_column is not None
    ):  # GitHub takes columns within one line only, from 1
        parts += [f"col={site.column + 1}", f"endColumn={site.end_column}"]
    return parts


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
