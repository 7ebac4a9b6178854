"""The report as HTML: one page that loads nothing, or a fragment for notebooks. Every text from the run is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from ..places import place, when
from ..rules import BY_ID
from .excerpt import excerpt
from .hints import hints
from .processes import process_name, process_rows, spread
from .story import Scene, Story, order_of, stories
from .verdict import clean_line, costly, is_plain_note, verdict
from .wording import number, origin, plural, rate, seconds, size, times, what

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..words import Finding, Site
    from .model import Report

_CSS: Final = """
.twg{--ink:#1c1e21;--dim:#666c75;--line:#d8dce2;--back:#fff;--code:#f4f5f7;--critical:#a3139b;--error:#c4221b;
--warning:#9a6200;--note:#2563a8;--good:#1d7a3d;color:var(--ink);background:var(--back);
font:14px/1.5 system-ui,sans-serif;max-width:70em;padding:.5em 1em}
@media (prefers-color-scheme:dark){.twg{--ink:#e3e5e8;--dim:#9aa1ab;--line:#3a3f47;--back:#17191c;--code:#22262b;
--critical:#ee8ae8;--error:#ff8078;--warning:#e5b457;--note:#7fb2ec;--good:#74cf93}}
[data-jp-theme-light=false] .twg,.vscode-dark .twg,html[theme=dark] .twg{--ink:#e3e5e8;--dim:#9aa1ab;--line:#3a3f47;
--back:transparent;--code:#22262b;--critical:#ee8ae8;--error:#ff8078;--warning:#e5b457;--note:#7fb2ec;--good:#74cf93}
[data-jp-theme-light=true] .twg,.vscode-light .twg,html[theme=light] .twg{--ink:#1c1e21;--dim:#666c75;--line:#d8dce2;
--back:transparent;--code:#f4f5f7;--critical:#a3139b;--error:#c4221b;--warning:#9a6200;--note:#2563a8;--good:#1d7a3d}
.twg h2{font-size:1.1em;margin:1.2em 0 .4em}.twg p{margin:.3em 0}.twg ul{margin:.3em 0;padding-left:1.4em}
.twg pre{background:var(--code);margin:.2em 0;padding:.3em .6em;overflow-x:auto;font:12.5px/1.5 ui-monospace,monospace;
color:inherit;border:0}
.twg mark{background:none;color:inherit;font-weight:700;border-bottom:2px solid currentColor}
.twg table{border-collapse:collapse;width:100%}.twg th,.twg td{border-bottom:1px solid var(--line);padding:.35em .6em;
text-align:left;vertical-align:top;background:none}.twg .n{text-align:right;white-space:nowrap}
.twg .box{border-left:4px solid;padding-left:.8em;margin:.8em 0}.twg .dim{color:var(--dim)}
.twg .critical{color:var(--critical)}.twg .error{color:var(--error)}.twg .warning{color:var(--warning)}
.twg .note{color:var(--note)}.twg .good{color:var(--good)}.twg .box>*{color:var(--ink)}.twg .box>.dim{color:var(--dim)}
"""


def render_html(report: Report) -> str:
    """A whole page."""
    title = f"tensorwatch-guard: {_headline(report)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"</head><body>{fragment(report)}</body></html>"
    )


def fragment(report: Report) -> str:
    """What notebooks show: a ``div`` with its own style."""
    parts = [f"<style>{_CSS}</style><div class='twg'>", _verdict(report)]
    if not report.clean:
        parts += [_stories(report), _table(costly(report)), _hints(report)]
    parts += [_notes(report), _allowed(report), _processes(report), _footer(report), "</div>"]
    return "\n".join(part for part in parts if part)


def _headline(report: Report) -> str:
    found = verdict(report)
    return found.what if found else clean_line(report)


def _verdict(report: Report) -> str:
    found = verdict(report)
    run = report.run
    ended = ", ended with an exception" if run.aborted else ""
    facts = f"<p class='dim'>{plural(run.steps, 'step')}, {escape(seconds(run.duration_s))}{ended}</p>"
    if found is None:
        return f"<div class='box good'><p><b>{escape(clean_line(report))}</b></p>{facts}</div>"
    also = f"<p>Also: {escape(found.also)}</p>" if found.also else ""
    return (
        f"<div class='box {found.finding.severity}'><p><b>{escape(found.what)}</b></p><p>{escape(found.why)}</p>"
        f"<p>Do: {escape(found.do)}</p>{also}{facts}</div>"
    )


def _rule(rule_id: str) -> str:
    rule = BY_ID.get(rule_id)
    told = f" title='{escape(rule.why + ' To mend: ' + rule.remedy, quote=True)}'" if rule else ""
    return f"<abbr{told}>{escape(rule_id)}</abbr>"


def _source(site: Site | None) -> str:
    found = excerpt(site)
    if found is None:
        return ""
    text, start, end = found
    if start is None or end is None:
        return f"<pre>{escape(text)}</pre>"
    return f"<pre>{escape(text[:start])}<mark>{escape(text[start:end])}</mark>{escape(text[end:])}</pre>"


def _stories(report: Report) -> str:
    told = [story for story in stories(report) if story.severity != "note"]
    if not told:
        return ""
    return "<h2>Memory written later, and what it broke</h2>" + "\n".join(map(_story, told))


def _story(story: Story) -> str:
    rule = BY_ID.get(story.head.rule)
    title = escape(rule.title if rule else story.head.op)
    more = "".join(f"<p class='dim'>... and {escape(text)}</p>" for text in story.more)
    return (
        f"<div class='box {story.severity}'><p><b class='{story.severity}'>{story.severity}</b> "
        f"{_rule(story.head.rule)} {title}</p>{''.join(map(_scene, story.scenes))}{more}"
        f"<p>Do: {escape(story.do)}</p></div>"
    )


def _scene(scene: Scene) -> str:
    if scene.between:
        where, shown = when(scene.between), "".join(map(_source, scene.between[:2]))
    else:
        where, shown = place(scene.site), _source(scene.site)
    facts = f"<p class='dim'>{escape('; '.join(scene.facts))}</p>" if scene.facts else ""
    caller = f" <span class='dim'>called by {escape(place(scene.origin))}</span>" if scene.origin else ""
    return f"<p><b>{escape(scene.heading)}</b> {escape(where)}{caller}</p>{shown}{facts}"


def _table(rows: list[Finding]) -> str:
    if not rows:
        return ""
    head = "".join(
        f"<th class='n'>{name}</th>" for name in ("count", "a step", "bytes", "host blocked (upper bound)")
    )
    head += "<th>what, where, what to do</th>"
    return f"<h2>Waits and copies</h2><table><tr>{head}</tr>{''.join(map(_row, rows))}</table>"


def _row(finding: Finding) -> str:
    figures = (number(finding.count), rate(finding.per_step), size(finding.bytes), seconds(finding.blocked_s))
    caller = f"<p class='dim'>{escape(origin(finding))}</p>" if finding.origin else ""
    ranks = "".join(f"<p class='dim'>{escape(line)}</p>" for line in spread(finding))
    return (
        f"<tr>{''.join(f'<td class=n>{escape(figure)}</td>' for figure in figures)}<td>"
        f"<b class='{finding.severity}'>{escape(what(finding))}: {escape(finding.op)}</b> {_rule(finding.rule)}<br>"
        f"{escape(place(finding.site))}{caller}{_source(finding.site)}{ranks}Do: {escape(order_of(finding))}</td></tr>"
    )


def _list(title: str, items: Iterable[str]) -> str:
    body = "".join(f"<li>{item}</li>" for item in items)
    return f"<details><summary>{title}</summary><ul>{body}</ul></details>" if body else ""


def _hints(report: Report) -> str:
    items = [f"{escape(hint.text)} {_rule(hint.rule)}" for hint in hints(report)]
    return f"<h2>Together</h2><ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""


def _line(finding: Finding) -> str:
    text = finding.site.source if finding.site and finding.site.source else finding.op
    return f"{escape(place(finding.site))} <code>{escape(text)}</code>: {escape(what(finding))}, {times(finding.count)}"


def _notes(report: Report) -> str:
    notes = [finding for finding in report.findings if is_plain_note(finding)]
    quiet = [f for f in report.findings if f.kind in {"read", "alias"} and f.allowed is None]
    return _list(
        plural(len(notes), "note"), (f"{_line(f)} {_rule(f.rule)} {escape(order_of(f))}" for f in notes)
    ) + _list(f"host reads and same memory at {plural(len(quiet), 'place')}", map(_line, quiet))


def _allowed(report: Report) -> str:
    granted = [finding for finding in report.findings if finding.allowed is not None]
    items = (
        f"{_line(finding)}: <i>{escape(finding.allowed or 'no reason given')}</i>" for finding in granted
    )
    return _list(f"{len(granted)} allowed", items)


def _processes(report: Report) -> str:
    rows = process_rows(report)
    return _list(
        plural(len(rows), "process", "processes"),
        (
            f"{escape(process_name(row))}: {plural(int(row.get('steps') or 0), 'step')}, "
            f"{plural(int(row.get('waits') or 0), 'wait')}, blocked {seconds(float(row.get('blocked_s') or 0))}"
            for row in rows
        ),
    )


def _footer(report: Report) -> str:
    run = report.run
    spots = [escape(spot) for spot in report.blind_spots]
    told = [f"{escape(notice.text)} {_rule(notice.rule)}" for notice in report.notices]
    watched = (
        f"<p class='dim'>Watched: {escape(', '.join(run.layers))}; later writes: {escape(run.writes)}; "
        f"the guard's own cost about {escape(seconds(run.overhead_s))}. "
        "Blocked is host time inside the call, an upper bound of the wait.</p>"
    )
    return _list("what the guard says of itself", told) + _list("not seen", spots) + watched
