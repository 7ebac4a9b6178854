"""From a collector's tallies to the findings of a report: sites, ids, rules, severities, stories.

All that is dear is done here, once, when somebody asks for a report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from .collector import Collector, Link, Tally
from .current import LOCAL
from .folding import one_story, same_memory
from .policy.comments import allowed_at
from .rules import BY_ID, advice, rule_for, severity_of, written_in_place
from .sites import Trail, identity, place_of
from .words import Finding, Related, Site

REFILLED = 2
"""Writes for each time that the memory was handed out."""
Live = Mapping[tuple[object, ...], int]
Lines = Mapping[tuple[object, ...], tuple[Tally, ...]]
Cuts = Mapping[tuple[object, ...], list[Trail]]


class Sum:
    """Tallies of all threads for one finding."""

    __slots__ = ("first", "folded", "tallies", "threads")

    def __init__(self, first: Tally) -> None:
        self.first = first
        self.tallies: list[Tally] = []
        self.folded: list[Tally] = []
        """Intervals that gave way to this line."""
        self.threads: dict[str, None] = {}

    def add(self, thread: str, tally: Tally) -> None:
        """One more thread's share. A hazard that is certain once is certain: the finding is of that happening."""
        if tally.details.get("certain") and not self.first.details.get("certain"):
            self.first = tally
        self.tallies.append(tally)
        for name in sorted(tally.threads or (thread,)):
            self.threads[name] = None


def findings(collector: Collector, live: Live, steps: int, cuts: Cuts | None = None) -> tuple[Finding, ...]:
    """Everything a collector has seen, in the order in which it was first seen.

    Args:
        collector: of one guard.
        live: live aliases by (op, trail's key), see ``Memory.live``.
        steps: steps since the guard was entered.
        cuts: where the sharing of aliases ended, by the same.
    """
    sums = _sums(collector)
    lines = _lines_named(sums)
    sums = [one for one in sums if not _is_refuted(one, lines)]
    consumed = _consumed(sums, lines)
    made = [_finding(one, collector, live, steps, consumed, lines, cuts or {}) for one in sums]
    return _no_reads_beside_waits(_commonest_first([finding for finding in made if finding is not None]))


def _commonest_first(made: list[Finding]) -> list[Finding]:
    """Of several places that handed out the memory the one that did so most often comes first: the advice is for it."""
    aliases = {finding.id: finding for finding in made if finding.kind == "alias"}
    hazards = [finding for finding in made if finding.kind == "hazard"]
    used = {other.id for finding in hazards if finding.details.get("certain", True) for other in finding.related}
    perhaps = {other.id for finding in hazards for other in finding.related} - used
    found = []
    for finding in made:
        shared = [other for other in finding.related if other.role == "shared-by"]
        known = [aliases[other.id] for other in shared if other.id in aliases]
        if not known or finding.kind not in ("mutation", "hazard"):
            found.append(finding)
            continue
        ordered = sorted(shared, key=lambda other: -(aliases[other.id].count if other.id in aliases else 0))
        others = (other for other in finding.related if other.role != "shared-by")
        changed = replace(finding, related=(*ordered, *others))
        more: dict[str, Any] = {"handed_out": sum(alias.count for alias in known)} if finding.kind == "hazard" else {}
        if finding.id not in used and _is_refilled(finding, known):
            more["refilled"] = True
            more |= {"perhaps_used": True} if finding.id in perhaps else {}
        changed = replace(changed, details={**finding.details, **more})
        found.append(replace(changed, advice=advice(BY_ID[finding.rule], changed)))
    return found


def _is_refilled(finding: Finding, aliases: Sequence[Finding]) -> bool:
    """Whether an array is written far more often than it is handed out as a tensor: as a buffer is that is filled again."""
    if finding.details.get("kept") or written_in_place(finding) is not None:
        return False
    into_tensor = all(str(alias.details.get("direction", "")).endswith("->tensor") for alias in aliases)
    writer = finding.details.get("writer", "numpy") != "torch"
    return into_tensor and writer and finding.count >= REFILLED * sum(alias.count for alias in aliases)


def _no_reads_beside_waits(made: list[Finding]) -> tuple[Finding, ...]:
    """One call is told once: a scaler's step that waits for the device is no host read for its optimizer's own counts."""
    waits = {finding.site for finding in made if finding.kind == "sync" and finding.site is not None}
    return tuple(finding for finding in made if finding.kind != "read" or finding.site not in waits)


def _sums(collector: Collector) -> list[Sum]:
    sums: dict[tuple[object, ...], Sum] = {}
    folded: list[Tally] = []
    for thread, tally in collector.tallies():
        if tally.into is not None:
            folded.append(tally)
            continue
        if not tally.count or (tally.kind == "transfer" and _is_off(tally, collector)):
            continue  # none: taken back, another layer tells it
        what = tally.details.get("type")
        # several waits in one expression of the user's are one finding, named by the first of them
        op = "" if tally.kind in ("sync", "read") and tally.trail.site is not None else tally.op
        key = (tally.kind, op, place_of(tally.trail), tally.extra and place_of(tally.extra), id(tally.grant), what)
        known = sums.get(key)
        if known is None:
            known = sums[key] = Sum(tally)
        known.add(thread, tally)
    folded += _held_by_lines(sums)
    by_tally = {id(tally): one for one in sums.values() for tally in one.tallies}
    for tally in folded:
        by_tally[id(tally.into)].folded.append(tally)
    for one in sums.values():
        for commonest in list(_both_ways(one))[:1]:
            one.first = next(tally for tally in one.tallies if tally.direction == commonest)
    return sorted(sums.values(), key=lambda one: min(tally.serial for tally in one.tallies))


def _is_off(tally: Tally, collector: Collector) -> bool:
    """Whether the user does not want to hear of its kind, or of its direction."""
    return collector.config.setting(tally.kind, tally.direction).level == "off"


def _both_ways(one: Sum) -> dict[str, int]:
    """How often a line copied in each direction, where it did in more than one; the commonest comes first."""
    if one.first.kind != "transfer":
        return {}
    counts: Counter[str] = Counter()
    for tally in one.tallies:
        if tally.direction is not None:
            counts[tally.direction] += tally.count
    return dict(counts.most_common()) if len(counts) > 1 else {}


def _held_by_lines(sums: dict[tuple[object, ...], Sum]) -> list[Tally]:
    """Intervals that hold a line which is named already for memory of the same site: they give way to it."""
    lines = [one.first for one in sums.values() if one.first.kind == "mutation" and one.first.extra is None]
    given_way: list[Tally] = []
    for key, one in list(sums.items()):
        interval = one.first
        if interval.kind != "mutation" or interval.extra is None:
            continue
        told = [line for line in lines if same_memory(line, interval) and one_story(line, interval)]
        told.sort(key=lambda line: not any(tally.trail.key in line.ends for tally in one.tallies))  # found in such a one
        line = next((line for line in told if any(tally.may_hold(line) for tally in one.tallies)), None)
        if line is not None:
            for tally in one.tallies:
                tally.into = line
            given_way += one.tallies
            del sums[key]
    return given_way


def _is_refuted(one: Sum, lines: Lines) -> bool:
    """Whether a perhaps stale gradient was only a guess from intervals, and the line that wrote turned out to harm none.

    A write whose line is known has its place in autograd's order: the stale value would have been a certain one.
    """
    details = one.first.details
    if details.get("type") != "stale-gradient" or details.get("certain"):
        return False
    written = [link for each in one.tallies for link in each.links.values() if link.role == "written-by"]
    return bool(written) and all((link.trail.key, link.extra and link.extra.key) in lines for link in written)


def _consumed(sums: Iterable[Sum], lines: Lines) -> dict[tuple[object, ...], list[Tally]]:
    """Mutations whose value was used: (trail's key, interval's other end) to the hazards that used it."""
    found: dict[tuple[object, ...], list[Tally]] = {}
    for one in sums:
        if one.first.kind != "hazard" or not any(each.details.get("certain") for each in one.tallies):
            continue
        links = [link for each in _certain_first(one) if each.details.get("certain") for link in each.links.values()]
        direct = _direct(links)
        for link in links:
            if link.role == "written-by":
                line = _line_meant(link, lines, direct)
                known = link if line is None else line
                key = (known.trail.key, known.extra and known.extra.key)
                users = found.setdefault(key, [])
                if one.first not in users:
                    users.append(one.first)
    return found


def _finding(
    one: Sum,
    collector: Collector,
    live: Live,
    steps: int,
    consumed: Mapping[tuple[object, ...], list[Tally]],
    lines: Lines,
    cuts: Cuts,
) -> Finding | None:
    tally = one.first
    if _is_off(tally, collector):
        return None
    count = _count(one)
    blocking = sum(each.blocking for each in one.tallies)
    first_step = min(each.first_step for each in (*one.tallies, *one.folded))
    last_step = max(each.last_step for each in (*one.tallies, *one.folded))
    details = _details(one, live)
    site, origin = tally.trail.site, tally.trail.origin_site or _called_by(one)
    links = [link for each in _certain_first(one) for link in each.links.values()]
    direct = _direct(links)
    related = [_related(link, lines, direct) for link in links]
    users = consumed.get((tally.trail.key, tally.extra and tally.extra.key), []) if tally.kind == "mutation" else []
    related += [Related("consumed-by", user.id, user.trail.site) for user in users]
    ended = [at for key in {each.trail.key for each in one.tallies} for at in cuts.get((tally.op, key), ())]
    if tally.kind == "alias" and ended:
        details["severed"] = len(ended)
        related += [Related("severed-by", "", at.site) for at in ended]
    rule = rule_for(tally.kind, tally.op, tally.implicit, {**details, "blocking": bool(blocking)})
    found = Finding(
        id=tally.id,
        kind=tally.kind,
        op=tally.op,
        rule=rule.id,
        severity=severity_of(rule, count=count, steps=steps, consumed=bool(users), at_steps=_at_steps(one)),
        site=site,
        origin=origin,
        via=tally.via,
        count=count,
        per_step=round(count / steps, 4) if steps else 0.0,
        bytes=sum(each.nbytes + each.unit_bytes * each.count for each in one.tallies),
        blocked_s=sum(each.blocked_ns for each in one.tallies) / 1e9,
        blocking=bool(blocking),
        implicit=tally.implicit,
        threads=tuple(one.threads),
        first_step=max(first_step - collector.first, 0),
        last_step=max(last_step - collector.first, 0),
        allowed=_allowed_all(one, site, count),
        related=_each_once(related),
        details=details,
    )
    return replace(found, advice=advice(rule, found))


def _each_once(related: Iterable[Related]) -> tuple[Related, ...]:
    """Of the same finding spoken of twice the one whose columns are known: they come to be known late."""
    found: dict[tuple[object, ...], Related] = {}
    for one in related:
        key = (one.role, one.id, one.origin) if one.id else (one.role, one.site)
        known = found.get(key)
        if known is None or (known.site is not None and known.site.column is None):
            found[key] = one
    return tuple(found.values())


def _at_steps(one: Sum) -> int | None:
    """In how many steps it happened, at most: two threads or two operations may have had the same ones. None: not known."""
    first, last = min(each.first_step for each in one.tallies), max(each.last_step for each in one.tallies)
    return min(sum(each.at_steps for each in one.tallies), last - first + 1) or None


def _count(one: Sum) -> int:
    """How often; of what is certain at times and at times only possible, how often it was certain."""
    certain = one.first.details.get("certain", True)
    return sum(each.count for each in (*one.tallies, *one.folded) if each.details.get("certain", certain) == certain)


def _called_by(one: Sum) -> Site | None:
    """The library line that called PyTorch, where a line was found in the course of such a call: a follower knows only his."""
    inside = {each.trail.origin_site for each in one.folded if each.extra is not None and each.extra.inside}
    return inside.pop() if len(inside) == 1 else None


def _details(one: Sum, live: Live) -> dict[str, Any]:
    details = dict(one.first.details)
    if both := _both_ways(one):
        details["directions"] = both
    if one.first.kind == "alias":
        details["live"] = sum(live.get((one.first.op, key), 0) for key in {tally.trail.key for tally in one.tallies})
        passed = sum(tally.passed for tally in one.tallies)
        if passed:
            details["unwatched"] = passed
    perhaps = sum(each.count for each in one.tallies) - _count(one) if one.first.kind == "hazard" else 0
    if perhaps:
        details["perhaps"] = perhaps
    kept = max(each.kept for each in (*one.tallies, *one.folded))
    if kept:
        details["kept"] = kept
    between = details.get("between")
    if between is not None:
        details["between"] = [site_json(end.site) for end in between]
    since = details.get("since")
    if since is not None:
        details["since"] = site_json(since.site)
    blocking = sum(tally.blocking for tally in one.tallies)
    if 0 < blocking < sum(tally.count for tally in one.tallies):
        details["blocking_calls"] = blocking
    more = sum((Counter(tally.more) for tally in one.tallies), Counter())
    if more:
        details["more"] = dict(more)
    return details


def site_json(site: Site | None) -> dict[str, Any] | None:
    """A site as it stands in the report file."""
    if site is None:
        return None
    return {name: getattr(site, name) for name in ("file", "line", "end_line", "column", "end_column", "function", "source")}


def _lines_named(sums: Iterable[Sum]) -> Lines:
    """The line that each interval gave way to, and others in it: what spoke of the interval speaks of a line."""
    return {
        (each.trail.key, each.extra and each.extra.key): (one.first, *each.lines) for one in sums for each in one.folded
    }


def _certain_first(one: Sum) -> list[Tally]:
    return sorted(one.tallies, key=lambda each: each.details.get("certain") is False)


def _direct(links: Iterable[Link]) -> set[object]:
    """Lines that a finding speaks of by themselves: of several in an interval it is one of these that is meant."""
    return {link.trail.key for link in links if link.extra is None}


def _line_meant(link: Link, lines: Lines, direct: AbstractSet[object]) -> Tally | None:
    """The line that stands for an interval in a story."""
    known = lines.get((link.trail.key, link.extra and link.extra.key)) if link.kind == "mutation" else None
    return next((line for line in known if line.trail.key in direct), known[0]) if known else None


def _related(link: Link, lines: Lines, direct: AbstractSet[object]) -> Related:
    line = _line_meant(link, lines, direct)
    if line is not None:
        return Related(link.role, line.id, line.trail.site)
    origin = link.trail.origin_site if link.role == "shared-by" else None
    return Related(link.role, identity(link.kind, link.op, link.trail, link.extra), link.trail.site, origin)


def _allowed_all(one: Sum, site: Site | None, count: int) -> str | None:
    """The same of a finding; where a line copies both ways, both have to be allowed."""
    each = {tally.direction: tally for tally in reversed(one.tallies)} if one.first.kind == "transfer" else {}
    reasons = [_allowed(tally, site, count) for tally in (one.first, *each.values())]
    return reasons[0] if None not in reasons else None


def _allowed(tally: Tally, site: Site | None, count: int) -> str | None:
    """The reason of the block or of the comment that allows it; None where nothing does."""
    direction = tally.details.get("direction")
    base = tally.grant.covering(tally.kind, direction) if tally.grant is not None else None
    if base is not None and (not base.first_only or count <= 1):
        return base.reason
    return allowed_at(site, tally)


def finding_of(tally: Tally, collector: Collector, steps: int) -> Finding | None:
    """The finding that one tally is so far, for those who cannot wait for the report; None where its kind is off."""
    one = Sum(tally)
    one.add(LOCAL.here.name, tally)
    return _finding(one, collector, {}, steps, {}, {}, {})


__all__ = ["Trail", "finding_of", "findings", "site_json"]
