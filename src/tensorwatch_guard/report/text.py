"""The report for a terminal or a log file: the verdict, then stories, then a table, then what is folded into lines.

Plain ASCII apart from the user's own source lines, so that it reads the same everywhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ..places import path, place, when
from ..rules import BY_ID
from ..words import SEVERITIES, Finding
from .excerpt import Excerpt, carets, cells, cropped, excerpt, listing
from .hints import hints
from .model import waits_of
from .processes import process_lines, spread
from .story import Scene, Story, order_of, stories
from .terminal import Style
from .verdict import broken_levels, clean_line, is_plain_note, untouched, verdict, weight
from .wording import (
    number,
    origin,
    plural,
    rate,
    seconds,
    severity_count,
    size,
    times,
    what,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..words import Site
    from .model import Notice, Report

TOP: Final = 10
"""Entries of a section that are shown unless all are asked for."""
NAME: Final = "tensorwatch-guard"
_LABEL: Final = 11


def render_text(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """The whole report as text.

    Args:
        report: What to show.
        style: Width, colour and characters; 80 columns without colour where not given.
        verbose: Show every entry, and notes one by one, also of a clean run.
    """
    page = _Page(report, style or Style(), verbose)
    if report.clean and not verbose:
        page.clean()
    else:
        page.whole()
    return "\n".join(page.lines)


class _Page:
    def __init__(self, report: Report, style: Style, verbose: bool) -> None:
        self.report = report
        self.style = style
        self.top = len(report.findings) if verbose else TOP
        self.verbose = verbose
        self.lines: list[str] = []

    # -- the whole -----------------------------------------------------------------------------------------------------

    def clean(self) -> None:
        line = f"{NAME}: {clean_line(self.report)}"
        self.lines.append(self.style.paint(line, "good"))
        self.notices()

    def whole(self) -> None:
        told = [story for story in stories(self.report) if story.severity != "note" or self.verbose]
        in_stories = {finding.id for story in told for finding in story.findings}
        rest = [f for f in self.report.findings if f.id not in in_stories and f.allowed is None]
        self.header(told, rest)
        self.verdict()
        self.stories(told)
        self.table([finding for finding in rest if finding.severity != "note"])
        self.hints()
        self.notes([finding for finding in rest if is_plain_note(finding)])
        self.folded(rest)
        self.allowed()
        self.notices()
        self.processes()
        self.footer()

    def header(self, told: list[Story], rest: list[Finding]) -> None:
        weights = [story.severity for story in told] + [finding.severity for finding in rest]
        counts = [
            self.style.paint(severity_count(weights.count(severity), severity), severity)
            for severity in reversed(SEVERITIES)
            if severity != "note" and severity in weights
        ]
        broken = broken_levels(self.report)
        if broken and counts:
            counts.append(self.style.paint(broken, "error"))
        found = ", ".join(counts) or self.style.paint(clean_line(self.report), "error" if broken else "good")
        self.lines.append(f"{self.style.paint(NAME, 'strong')}: {found}")
        run = self.report.run
        often = plural(run.steps, "step") if run.steps else "no steps seen"
        parts = [_program(run.argv), often, seconds(run.duration_s)]
        if run.rank is not None:
            parts.append(f"rank {run.rank}" + (f" of {run.world_size}" if run.world_size else ""))
        if run.aborted:
            parts.append("ended with an exception: the report holds what ran until then")
        if run.extra.get("unfinished"):
            parts.append("written while it ran: what came after is not in it")
        text = ", ".join(part for part in parts if part not in {"", "-"})
        self.lines += [self.style.paint(line, "dim") for line in self.style.wrap(text)]

    def verdict(self) -> None:
        found = verdict(self.report)
        if found is None:
            return
        self.lines.append("")
        for label, text in (("WHAT", found.what), ("WHY", found.why), ("DO", found.do), ("ALSO", found.also)):
            if text:
                lines = self.style.wrap(text, f"  {label:<6}")
                tone = found.finding.severity if label == "WHAT" else "strong"
                self.lines.append(lines[0].replace(label, self.style.paint(label, tone), 1))
                self.lines += lines[1:]

    # -- stories -------------------------------------------------------------------------------------------------------

    def heading(self, title: str) -> None:
        rule = "-" * max(3, self.style.width - len(title) - 1)
        self.lines += ["", f"{self.style.paint(title, 'strong')} {self.style.paint(rule, 'dim')}"]

    def stories(self, told: list[Story]) -> None:
        if not told:
            return
        self.heading("MEMORY WRITTEN LATER, AND WHAT IT BROKE")
        for at, story in enumerate(told[: self.top], 1):
            if at > 1:
                self.lines.append("")
            self.story(story)
        self.left_out(len(told) - self.top)

    def left_out(self, count: int) -> None:
        if count > 0:
            self.lines.append(f"  ... and {number(count)} more (tensorwatch-guard report -v FILE shows all)")

    def story(self, story: Story) -> None:
        rule = BY_ID.get(story.head.rule)
        title = rule.title if rule else story.head.op
        lines = self.style.wrap(f"{story.severity} {story.head.rule}: {title}", "", "  ")
        label = self.style.paint(story.severity, story.severity)
        self.lines += [lines[0].replace(story.severity, label, 1), *lines[1:]]
        for scene in story.scenes:
            self.scene(scene)
        for more in story.more:
            self.lines.append(f"  ... and {more}")
        self.order(story.do, "  ")

    def scene(self, scene: Scene) -> None:
        ends = scene.between
        where = when(ends) if ends else place(scene.site)
        lines = self.style.wrap(f"{scene.heading}  {where}", "  ", "    ")
        self.lines.append(lines[0].replace(scene.heading, self.style.paint(scene.heading, "strong"), 1))
        self.lines += lines[1:]
        if scene.origin is not None:
            self.lines.append(f"    called by {place(scene.origin)}")
        if ends is None:
            self.source(scene.site, "      ")
        else:
            self.interval(ends.since or ends.first, ends.last, turned=ends.since is not None)
        if scene.facts:
            self.lines += self.style.wrap("; ".join(scene.facts), "    ")

    def interval(self, first: Site | None, last: Site | None, *, turned: bool) -> None:
        """The lines between two ends where they can be shown, else the ends alone. ``turned``: others may have run, too."""
        numbered = listing(first, last) if first and last and not turned else []
        shown = [(f"{line:>9}  ", Excerpt(text, None, None)) for line, text in numbered]
        if not shown:
            ends = (("after", excerpt(first)), ("before", excerpt(last) if first != last else None))
            shown = [(f"      {label:<7}", found) for label, found in ends if found is not None]
        self.lines += [lead + cropped(found, self.style.width - len(lead)).text for lead, found in shown]

    def source(self, site: Site | None, indent: str) -> None:
        found = excerpt(site)
        if found is None:
            return
        found = cropped(found, self.style.width - len(indent))
        self.lines.append(indent + found.text)
        marks = carets(found)
        if marks is not None:
            self.lines.append(indent + self.style.paint(marks, "strong"))

    def order(self, text: str, indent: str) -> None:
        if text:
            self.lines += self.style.wrap(text, f"{indent}do: ")

    # -- the table -----------------------------------------------------------------------------------------------------

    def table(self, rows: list[Finding]) -> None:
        if not rows:
            return
        rows.sort(key=weight, reverse=True)
        self.heading("WAITS AND COPIES")
        self.lines.append(self.style.paint(_figures("count", "a step", "bytes", "blocked*"), "dim"))
        for at, finding in enumerate(rows[: self.top]):
            if at:
                self.lines.append("")
            self.row(finding)
        self.left_out(len(rows) - self.top)

    def row(self, finding: Finding) -> None:
        figures = _figures(
            number(finding.count), rate(finding.per_step), size(finding.bytes), seconds(finding.blocked_s)
        )
        label = what(finding)
        lines = self.style.wrap(f"{label}: {finding.op}  {finding.rule}", f"{figures}  ", " " * 6)
        self.lines.append(lines[0].replace(label, self.style.paint(label, finding.severity), 1))
        self.lines += lines[1:]
        indent = " " * 6
        inside = f", inside {', '.join(finding.via[:2])}" if finding.via else ""
        self.lines += self.style.wrap(place(finding.site) + inside, indent)
        if finding.origin is not None:
            self.lines += self.style.wrap(origin(finding), indent)
        self.source(finding.site, indent + "  ")
        for line in spread(finding):
            self.lines += self.style.wrap(line, indent)
        self.order(order_of(finding), indent)

    # -- single lines --------------------------------------------------------------------------------------------------

    def hints(self) -> None:
        found = hints(self.report)
        if not found:
            return
        self.heading("TOGETHER")
        for hint in found[: self.top]:
            places = ", ".join(dict.fromkeys(place(f.site, function=False) for f in hint.findings[:4]))
            self.lines += self.style.wrap(f"{hint.text} ({places})", f"  {hint.rule}  ")
        self.left_out(len(found) - self.top)

    def notes(self, rows: list[Finding]) -> None:
        if not rows:
            return
        rows.sort(key=weight, reverse=True)
        self.heading("NOTES")
        for finding in rows[: self.top]:
            head = f"{place(finding.site, function=False)}  {_brief_source(finding)}  {times(finding.count)}"
            self.lines += self.style.wrap(f"{head}: {_note(finding)}", f"  {finding.rule}  ")
        self.left_out(len(rows) - self.top)

    def labelled(self, label: str, texts: Iterable[str]) -> None:
        first = f"{label:<{_LABEL}} "
        for text in texts:
            self.lines += self.style.wrap(text, first, " " * len(first))
            first = " " * len(first)

    def folded(self, rest: list[Finding]) -> None:
        reads = [finding for finding in rest if finding.kind == "read"]
        aliases = [finding for finding in self.report.findings if finding.kind == "alias"]
        if not (reads or aliases):
            return
        self.lines.append("")
        if reads:
            self.labelled("host reads", [_reads(reads)])
        if aliases:
            self.labelled("same memory", [_aliases(aliases, self.report)])

    def allowed(self) -> None:
        granted = [finding for finding in self.report.findings if finding.allowed is not None]
        shown = [_allowed(finding) for finding in granted[: self.top]]
        if len(granted) > self.top:
            shown.append(f"... and {number(len(granted) - self.top)} more (verbose shows all)")
        self.labelled("allowed", shown)

    def notices(self) -> None:
        self.labelled("guard", [_notice(notice) for notice in self.report.notices])

    def processes(self) -> None:
        lines = process_lines(self.report, TOP if not self.verbose else None)
        if lines:
            self.heading("PROCESSES")
            self.lines += lines

    def footer(self) -> None:
        run = self.report.run
        self.lines.append("")
        self.labelled("not seen", self.report.blind_spots)
        cost = ""
        if run.overhead_s:
            share = f" ({100 * run.overhead_s / run.duration_s:.1f}%)" if run.duration_s else ""
            cost = f"; the guard's own cost about {seconds(run.overhead_s)}{share}"
        self.labelled("watched", [f"{', '.join(run.layers)}; later writes: {run.writes}{cost}"])
        if any(waits_of(finding) and finding.blocked_s for finding in self.report.findings):
            self.labelled("blocked*", ["host time inside the call: an upper bound of the wait"])
        found = verdict(self.report)
        kind = found.finding.kind if found is not None else "sync"
        self.labelled(
            "rules", [f"tensorwatch-guard rules TWGnnn: why, how to mend; to allow: # tensorwatch: allow[{kind}] reason"]
        )


def _program(argv: tuple[str, ...]) -> str:
    return path(os.path.abspath(argv[0])) if argv and os.path.exists(argv[0]) else (argv[0] if argv else "")


def _figures(count: str, per_step: str, nbytes: str, blocked: str) -> str:
    return f"{count:>8} {per_step:>7} {nbytes:>9} {blocked:>8}"


def _brief_source(finding: Finding) -> str:
    text = " ".join((finding.site.source or finding.op).split()) if finding.site else finding.op
    return text if cells(text) <= 44 else text[:41] + "..."


def _note(finding: Finding) -> str:
    rule = BY_ID.get(finding.rule)
    if finding.kind == "refusal":
        return f"{rule.title if rule else 'refused'}; {order_of(finding)}"
    cuts = [place(other.site, function=False) for other in finding.related if other.role == "severed-by"]
    if cuts:
        return f"{rule.title if rule else 'sharing ended'}, since {', '.join(dict.fromkeys(cuts))}; {order_of(finding)}"
    return rule.title if rule else what(finding)


def _allowed(finding: Finding) -> str:
    where, reason = place(finding.site, function=False), finding.allowed or "no reason given"
    return f"{what(finding)} {times(finding.count)} at {where}: {reason}"


def _notice(notice: Notice) -> str:
    where = f"{place(notice.site, function=False)}: " if notice.site else ""
    often = f" ({times(notice.count)})" if notice.count > 1 else ""
    return f"{notice.rule}  {where}{notice.text}{often}"


def _reads(reads: list[Finding]) -> str:
    own = sum(f.count for f in reads if f.details.get("of"))
    counts = f"{number(own)} of optimizers' own step counts, which stay on the host" if own else ""
    reads = [f for f in reads if not f.details.get("of")]
    if not reads:
        return counts
    count, per_step = sum(f.count for f in reads), sum(f.per_step for f in reads)
    often = f", {rate(per_step)} a step" if per_step else ""
    places = plural(len({f.site for f in reads}), "place")
    top = max(reads, key=lambda f: f.count)
    return (
        f"{number(count)} of CPU tensors at {places}{often} (most: {place(top.site, function=False)}); "
        f"no wait today, each one waits once the tensor lives on an accelerator{counts and '; '}{counts}"
    )


def _aliases(aliases: list[Finding], report: Report) -> str:
    count, live = sum(f.count for f in aliases), sum(int(f.details.get("live", 0) or 0) for f in aliases)
    written = {other.id for f in report.findings if f.kind == "mutation" for other in f.related}
    quiet = [finding for finding in aliases if finding.id not in written]
    where = ", ".join(dict.fromkeys(place(f.site, function=False) for f in quiet if f.details.get("live")))
    text = f"{plural(count, 'array or tensor', 'arrays and tensors')} at {plural(len(aliases), 'place')}"
    text += f", {number(live) if live else 'none'} still shared at the end"
    unwatched = sum(int(f.details.get("unwatched", 0) or 0) for f in aliases)
    if unwatched:
        text += f"; of busy lines a sample was watched, {number(count - unwatched)} in all"
    if not written:
        text += untouched(report)
    elif where:
        text += f"; never written: {where}"
    return text
