"""The report as Markdown: for GitHub's step summary, an issue or a merge request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..places import place, when
from ..rules import BY_ID
from ..words import SEVERITIES, Finding
from .hints import hints
from .story import Story, order_of, stories
from .verdict import clean_line, costly, verdict
from .wording import number, plural, rate, seconds, sentence, size, times, what

if TYPE_CHECKING:
    from .model import Report


def render_markdown(report: Report) -> str:
    """The whole report as Markdown: the verdict, stories as lists, waits and copies as a table, the rest folded."""
    found = verdict(report)
    if found is None:
        return "\n".join([f"**tensorwatch-guard**: {escaped(clean_line(report))}", *_spaced(_notices(report))]) + "\n"
    lines = ["### tensorwatch-guard", "", f"**{escaped(found.what)}** {escaped(found.why)}"]
    lines += ["", f"Do: {escaped(found.do)}"]
    if found.also:
        lines += ["", f"Also: {escaped(found.also)}"]
    for story in stories(report):
        if story.severity != "note":
            lines += ["", *_story(story)]
    rows = costly(report)
    if rows:
        lines += ["", *_table(rows)]
    together = hints(report)
    if together:
        lines += ["", "**Together**", *(f"- {escaped(hint.text)} ({hint.rule})" for hint in together)]
    lines += ["", *_rest(report)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text in which Markdown and HTML have nothing to obey."""
    for char in "\\`*_{}[]<>#|~":
        text = text.replace(char, {"<": "&lt;", ">": "&gt;"}.get(char, f"\\{char}"))
    return " ".join(text.split())


def code(text: str) -> str:
    """Text as inline code, whatever marks it holds; also within a table."""
    text = " ".join(text.split()).replace("|", "\\|")
    longest, run = 0, 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    fence = "`" * (longest + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _source(finding: Finding) -> str:
    return code(finding.site.source) if finding.site and finding.site.source else code(finding.op)


def _story(story: Story) -> list[str]:
    rule = BY_ID.get(story.head.rule)
    lines = [f"**{story.severity} {story.head.rule}**: {escaped(rule.title if rule else story.head.op)}"]
    for scene in story.scenes:
        where = when(scene.between) if scene.between else place(scene.site)
        text = f" {code(scene.site.source)}" if scene.site and scene.site.source and not scene.between else ""
        facts = f" ({escaped('; '.join(scene.facts))})" if scene.facts else ""
        lines.append(f"- {scene.heading}: {escaped(where)}{text}{facts}")
    lines += [f"- {more}" for more in story.more]
    lines.append(f"- do: {escaped(story.do)}")
    return lines


def _table(rows: list[Finding]) -> list[str]:
    lines = [
        "| | where | what | count | a step | bytes | blocked (upper bound) | do |",
        "|-|-|-|-:|-:|-:|-:|-|",
    ]
    for finding in rows:
        figures = (
            number(finding.count),
            rate(finding.per_step),
            size(finding.bytes),
            seconds(finding.blocked_s),
        )
        where, told = f"{escaped(place(finding.site))} {_source(finding)}", f"{what(finding)} {finding.rule}"
        lines.append(
            f"| {' | '.join((finding.severity, where, told, *figures, escaped(order_of(finding))))} |"
        )
    return lines


def _rest(report: Report) -> list[str]:
    notes = [f for f in report.findings if f.severity == SEVERITIES[0] and f.allowed is None]
    granted = [finding for finding in report.findings if finding.allowed is not None]
    lines = [
        f"<details><summary>{plural(len(notes), 'note')}, {len(granted)} allowed, blind spots</summary>",
        "",
    ]
    lines += [f"- {_line(finding)}" for finding in notes]
    lines += [
        f"- allowed: {_line(finding)}: {escaped(finding.allowed or 'no reason given')}" for finding in granted
    ]
    lines += _notices(report)
    lines += [f"- not seen: {escaped(sentence(spot))}" for spot in report.blind_spots]
    run = report.run
    watched = escaped(f"{', '.join(run.layers)}; later writes: {run.writes}")
    lines.append(f"- watched: {watched}; rules: `tensorwatch-guard rules TWGnnn`")
    return [*lines, "", "</details>"]


def _notices(report: Report) -> list[str]:
    return [f"- guard: {escaped(notice.text)} ({notice.rule})" for notice in report.notices]


def _spaced(lines: list[str]) -> list[str]:
    return ["", *lines] if lines else []


def _line(finding: Finding) -> str:
    return f"{escaped(place(finding.site))} {_source(finding)}: {what(finding)}, {times(finding.count)}"
