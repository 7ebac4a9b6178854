"""What a violation, a warning and a log line say: where, what, why, what to do, and how to allow it."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Final

from ..places import interval, place, whereabouts
from ..rules import BY_ID, advice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..words import Finding, Site

MOST_SHOWN: Final = 10
_DOES: Final[dict[str, str]] = {
    "read": "the host reads a CPU tensor",
    "sync": "the host waits for {device}",
    "transfer": "data is copied from {src} to {dst}",
    "alias": "a tensor and the other side come to share memory",
    "mutation": "shared memory was written",
    "hazard": "{title}",
    "refusal": "a conversion was refused",
}
_ROLES: Final = {
    "shared-by": "shared since", "written-by": "written at", "perhaps-written-by": "perhaps written at",
    "consumed-by": "used by",
}  # fmt: skip
_WRITERS: Final = {"numpy": "NumPy", "torch": "PyTorch"}


class _Blanks(dict[str, str]):
    def __missing__(self, _key: str) -> str:
        return "a device"


def what(finding: Finding) -> str:
    """What happened, as a clause."""
    rule = BY_ID.get(finding.rule)
    words = _Blanks({key: str(value) for key, value in finding.details.items() if value})
    words["title"] = rule.title if rule else finding.op
    if finding.kind == "mutation":
        writer = _WRITERS.get(str(finding.details.get("writer")), "somebody")
        return f"{writer} wrote into shared memory{_region(finding)}"
    return _DOES[finding.kind].format_map(words)


def _region(finding: Finding) -> str:
    region = finding.details.get("region")
    return f" (at {region})" if region else ""


def source(site: Site | None, indent: str) -> list[str]:
    """The source line, and the expression marked below it where its columns are known and plain."""
    if site is None:
        return []
    line = linecache.getline(site.file, site.line).rstrip()
    text = line.lstrip()
    if not text or (site.source and not line[site.column or 0 :].startswith(site.source.split("\n")[0][:8])):
        return [indent + " ".join(site.source.split())] if site.source else []
    return [indent + text, *_marks(site, line, indent)]


def _marks(site: Site, line: str, indent: str) -> list[str]:
    if site.column is None or site.end_column is None or site.end_line not in (None, site.line) or not line.isascii():
        return []
    text = line.lstrip()
    start, length = site.column - (len(line) - len(text)), site.end_column - site.column
    whole = length >= len(text.split("#")[0].rstrip())
    return [] if start < 0 or whole else [indent + " " * start + "^" * length]


def how_to_allow(finding: Finding) -> str:
    """The comment and the block that let it pass."""
    rule = BY_ID.get(finding.rule)
    kind = rule.allow if rule and rule.allow else finding.kind
    return f'to allow it: "# tensorwatch: allow[{kind}] why" on that line, or with allow("{kind}", reason="why"):'


def _history(finding: Finding) -> list[str]:
    """Where the sharing began, who wrote, and what used it."""
    lines = []
    for other in finding.related[:4]:
        if other.site is not None:
            lines.append(f"  {_ROLES.get(other.role, other.role)} {place(other.site)}")
            lines += source(other.site, "      ")
    return lines


def block(finding: Finding, reason: str, *, whole: bool) -> str:
    """One finding that broke a level or a limit. ``whole``: with why, what to do and how to allow it."""
    rule = BY_ID.get(finding.rule)
    times = f", {finding.count} times" if finding.count > 1 else ""
    called = f", called by {place(finding.origin)}" if finding.origin is not None else ""
    inexact = interval(finding) is not None
    facts = f" ({finding.op}{times}{called})" if finding.kind != "mutation" else times
    lines = [f"{what(finding)}: {whereabouts(finding)}{facts}  {finding.rule}"]
    lines += ['  writes="exact" names the line'] if inexact else source(finding.site, "      ")
    if finding.kind in ("mutation", "hazard"):
        lines += _history(finding)
    lines.append(f"  {reason}")
    order = finding.advice or (advice(rule, finding) if rule else "")
    if whole and rule is not None and rule.why:
        lines.append(f"  why: {rule.why}")
    if order.startswith("nothing to mend"):  # somebody's level says otherwise
        order = "read it late and rarely: once an epoch, or every N steps" if finding.kind == "read" else ""
    if order:
        lines.append(f"  do: {order}")
    if whole:
        lines.append(f"  {how_to_allow(finding)}")
    return "\n".join(lines)


def violation_text(broken: Sequence[tuple[Finding, str]]) -> str:
    """The message of a violation: one finding told whole, or the first ten and how many there are."""
    if len(broken) == 1:
        return block(*broken[0], whole=True)
    blocks = [block(finding, reason, whole=False) for finding, reason in broken[:MOST_SHOWN]]
    more = len(broken) - MOST_SHOWN
    head = f"{len(broken)} findings break what was asked of this guard:"
    tail = [f"... and {more} more (all are in .findings)"] if more > 0 else []
    return "\n".join([head, *blocks, *tail, how_to_allow(broken[0][0])])


def brief(findings: Sequence[Finding], reasons: Sequence[str]) -> str:
    """A line for each finding that broke something, for where the report itself was shown already."""
    lines = [f"{whereabouts(finding)}: {reason}" for finding, reason in zip(findings, reasons, strict=True)]
    more = len(lines) - MOST_SHOWN
    return "; ".join(lines[:MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def line_text(finding: Finding) -> str:
    """One line, for warnings and logs. The place itself is left to those who show it."""
    inexact = interval(finding) is not None
    text = " ".join((finding.site.source or "").split()) if finding.site and not inexact else ""
    text = text if len(text) <= 60 else text[:57] + "..."
    shown = f"{text}: " if text else ""
    op = f" ({finding.op})" if finding.kind not in ("mutation", "hazard") else ""
    return f"{shown}{what(finding)}{op}; {finding.advice}  {finding.rule}"
