"""Stories: where a sharing began, where it was written, what used the value and what to do, told as one.

Mutations and hazards that are tied to each other, or to the same alias, make one story: one bug is told once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..places import Interval, interval
from ..rules import BY_ID, advice, worst
from ..words import SEVERITIES, Finding, Severity, Site
from .wording import WRITER_WORDS, number, plural, size, steps, times, watched_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .model import Report

MOST_SCENES: Final = 3
"""Places of one sort that a story shows; the rest is counted."""
SHARED: Final = "same memory since"
_VALUES: Final = 60
_MAIN: Final = re.compile(r"MainThread(?: \(Task-\d+\))?")
"""A thread that says nothing: a name that somebody gave a task does."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One place of a story: a heading, the site (or the two ends of an interval), and what is known about it."""

    heading: str
    site: Site | None
    between: Interval | None = None
    facts: tuple[str, ...] = ()
    origin: Site | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What belongs together. ``head`` is the finding that matters most in it."""

    head: Finding
    findings: tuple[Finding, ...]
    scenes: tuple[Scene, ...]
    more: tuple[str, ...]
    """Places that were left out, in words."""
    severity: Severity
    do: str

    @property
    def count(self) -> int:
        return self.head.count


def stories(report: Report, *, allowed: bool = False) -> tuple[Story, ...]:
    """All stories, the weightiest first; what is allowed is left out unless asked for."""
    told = [f for f in report.findings if f.kind in {"mutation", "hazard"} and (allowed or f.allowed is None)]
    by_id = {finding.id: finding for finding in report.findings}
    parts = [part for group in _groups(told) for part in _by_rule(group)]
    made = [_story(part, by_id, report.run.writes) for part in parts]
    return tuple(sorted(made, key=lambda story: (-SEVERITIES.index(story.severity), -story.count)))


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings joined by what they are related to, and by what is related to them."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            leader[key] = key = leader[leader[key]]
        return key

    for finding in findings:
        for other in finding.related:
            leader[find(finding.id)] = find(other.id or f"{other.role}:{other.site}")
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(find(finding.id), []).append(finding)
    return list(groups.values())


def _by_rule(group: list[Finding]) -> list[list[Finding]]:
    """What was broken in several ways is told once for each, for each is mended in another way."""
    hazards = [finding for finding in group if finding.kind == "hazard" and finding.severity != "note"]
    rules = dict.fromkeys(finding.rule for finding in hazards)
    if len(rules) < 2:
        return [group]
    parts = []
    for rule in rules:
        broken = [finding for finding in hazards if finding.rule == rule]
        ids = {other.id for finding in broken for other in finding.related}
        parts.append([*broken, *(finding for finding in group if finding.kind == "mutation" and finding.id in ids)])
    told = {finding.id for part in parts for finding in part}
    parts[0] += [finding for finding in group if finding.id not in told]
    return parts


def _story(group: list[Finding], by_id: Mapping[str, Finding], mode: str) -> Story:
    order = sorted(group, key=lambda f: (-SEVERITIES.index(f.severity), f.kind != "hazard", -f.count))
    head = order[0]
    scenes: list[Scene] = []
    more: list[str] = []
    for sort, others in (
        (_began(group, by_id), ("more place where it was shared", "more places where it was shared")),
        ([_written(finding, mode) for finding in order if finding.kind == "mutation"], ("more write", "more writes")),
        (_written_alone(order, by_id), ("more write", "more writes")),
        ([_broken(finding) for finding in order if finding.kind == "hazard"], ("more use", "more uses")),
    ):
        scenes += sort[:MOST_SCENES]
        if len(sort) > MOST_SCENES:
            more.append(plural(len(sort) - MOST_SCENES, *others))
    weight = worst(finding.severity for finding in group) or "note"
    return Story(head, tuple(order), tuple(scenes), tuple(more), weight, order_of(head))


def order_of(finding: Finding) -> str:
    """What to do about a finding: its own advice, else its rule's."""
    rule = BY_ID.get(finding.rule)
    return finding.advice or (advice(rule, finding) if rule else "")


def _began(group: Iterable[Finding], by_id: Mapping[str, Finding]) -> list[Scene]:
    scenes: dict[str, Scene] = {}
    for finding in group:
        for other in finding.related:
            if other.role != "shared-by":
                continue
            alias = by_id.get(other.id)
            site = alias.site if alias else other.site
            origin = alias.origin if alias else other.origin
            scenes.setdefault(other.id or str(site), Scene(SHARED, site, facts=_alias_facts(alias), origin=origin))
    return list(scenes.values())


def _alias_facts(alias: Finding | None) -> tuple[str, ...]:
    if alias is None:
        return ()
    details = alias.details
    made = [side for side in (_sides(str(details.get("direction", ""))), _described(details)) if side]
    if alias.count > 1:
        made.append(times(alias.count) + watched_share(alias))
    return (", ".join(made),) if made else ()


def _sides(direction: str) -> str:
    source, arrow, result = direction.partition("->")
    return f"{result} from {source}" if arrow else direction


def _described(details: Mapping[str, Any]) -> str:
    shape, dtype, nbytes = details.get("shape"), details.get("dtype"), details.get("nbytes")
    parts = [
        str(dtype).removeprefix("torch.") if dtype else "",
        f"[{', '.join(map(str, shape))}]" if shape else "",
    ]
    text = " ".join(part for part in parts if part)
    return f"{text}, {size(nbytes)}" if text and nbytes else text


def _written(finding: Finding, mode: str) -> Scene:
    """``mode``: the ``writes`` option of the run; ``auto`` follows a line for a few turns only."""
    ends = interval(finding)
    writer = WRITER_WORDS.get(str(finding.details.get("writer")), "somebody")
    threads = [name for name in finding.threads if not _MAIN.fullmatch(name)]
    first = finding.details.get("first")
    # a line may write several arrays each time, and between two looks somebody may write often
    often = f"found changed {times(finding.count)}" if ends else plural(finding.count, "write")
    if mode == "auto" and finding.details.get("exact"):
        often = f"{'about ' if finding.count > 1 else ''}{often} seen"
    how_often = ["for the first time" if first else often, steps(finding)]
    if threads:
        how_often.append(f"in thread {', '.join(threads[:2])}")
    facts = [", ".join(part for part in how_often if part)]
    values = changed(finding.details)
    if values:
        facts.append(values)
    if ends and mode != "exact" and not first:
        facts.append('guard(writes="exact") names the line')
    return Scene(f"written by {writer}", finding.site, ends, tuple(facts), finding.origin)


def _written_alone(group: Iterable[Finding], by_id: Mapping[str, Finding]) -> list[Scene]:
    """Writes that are told only by what they broke: no memory was shared."""
    scenes: dict[str, Scene] = {}
    group = list(group)
    told = {(f.site.file, f.site.line) for f in group if f.kind == "mutation" and f.site is not None}
    for finding in group:
        through = finding.details.get("through")
        facts = (f"through {through}: PyTorch's own check does not see it",) if through else ()
        for other in finding.related:
            site = other.site if other.role == "written-by" and other.id not in by_id else None
            if site is not None and (site.file, site.line) not in told:
                scenes.setdefault(other.id, Scene("written by PyTorch", other.site, facts=facts))
    return list(scenes.values())


def changed(details: Mapping[str, Any]) -> str:
    """``4 elements in [0, :]: 1.0, 2.0, ... -> 5.0, 6.0, ...``, as much of it as is known."""
    region, elements, before, after = (
        details.get(name) for name in ("region", "elements", "before", "after")
    )
    where = str(region or "")
    if isinstance(elements, int) and elements != 1:
        where = plural(elements, "element") + (f" in {where}" if where else "")
    if after is None:
        return f"in {where}" if where == str(region) and where else where
    values = f"{_brief(before) if before is not None else '(not kept)'} -> {_brief(after)}"
    return f"{where}: {values}" if where else values


def _brief(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _VALUES else text[: _VALUES - 3] + "..."


FOUND_GONE: Final = {"later": "at", "after": "after"}
"""Memory that nobody took away before our eyes: where it was found gone, or the last place at which it was there."""
_USES: Final = {
    "stale-gradient": "used by backward",
    "dangling-alias": "memory taken away",
    "async-copy": "copy still in flight",
    "followed-state": "used as if it were unchanged",
}


def surely(finding: Finding) -> str:
    """How often something broke; at least, where at times it could not be said."""
    perhaps = int(finding.details.get("perhaps", 0) or 0)
    return f"{times(finding.count)} for certain, {times(perhaps)} perhaps" if perhaps else times(finding.count)


def _broken(finding: Finding) -> Scene:
    kind = str(finding.details.get("type", ""))
    gone = FOUND_GONE.get(str(finding.details.get("told")))
    heading = f"memory found gone {gone}" if gone else _USES.get(kind, kind or "broken")
    if finding.details.get("certain") is False:
        heading = f"perhaps {heading}"
    node = finding.details.get("node")
    facts = [", ".join(part for part in (surely(finding), steps(finding)) if part)]
    if node:
        nodes = finding.details.get("nodes")
        others = f" and {number(nodes - 1)} more" if isinstance(nodes, int) and nodes > 1 else ""
        facts.append(f"saved by {node}{others}")
    return Scene(heading, finding.site, None, tuple(facts), finding.origin)
