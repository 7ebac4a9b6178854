"""Allowances that let nothing pass, comments that name no kind, and findings that a rule of the user's own left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..sites import FILES, USER, site_at, site_of
from ..words import DIRECTIONS
from .allow import NAMES, bases
from .comments import comments_of
from .heed import ignored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType

    from ..collector import Collector
    from ..session import Session
    from ..words import Finding, Site
    from .allow import Base


_OF_DEVICES: Final = frozenset({"sync", "transfer", *DIRECTIONS})
"""Kinds that cannot happen where no device was used: a run on the CPU says nothing of such allowances."""


class Remark(NamedTuple):
    """Something for the report's notices: a rule, a text, a place."""

    rule: str
    text: str
    site: Site | None


def stale_allowances(collector: Collector, *, everywhere: bool) -> Iterator[Remark]:
    """Allowances in code that ran under a guard and let nothing pass.

    Args:
        collector: of the guard.
        everywhere: look at all of the user's files that were seen; else only at functions in which it saw something.
    """
    policy = collector.policy
    if policy is None:
        return
    used: set[Base] = set()
    lines: set[tuple[str, int]] = set()
    codes: dict[int, CodeType] = {}
    devices = False
    for _, tally in collector.tallies():
        devices = devices or tally.kind in ("sync", "transfer")
        direction = tally.details.get("direction")
        base = tally.grant.covering(tally.kind, direction) if tally.grant is not None else None
        if base is not None:
            used.add(base)
        code = tally.trail.code or (tally.trail.place.code if tally.trail.place is not None else None)
        if code is not None:
            codes[id(code)] = code
        site = tally.trail.site
        comments = comments_of(site.file) if site is not None else {}
        if site is not None and comments:
            for line in range(site.line, (site.end_line or site.line) + 1):
                if line in comments and not comments[line].kinds.isdisjoint(NAMES[tally.kind, direction]):
                    lines.add((site.file, line))
    for base in bases():
        if base.entered > policy.entered_at and base not in used and (devices or base.kinds - _OF_DEVICES):
            kinds = ", ".join(f'"{kind}"' for kind in sorted(base.kinds))
            site = site_of(base.code, base.lasti)
            yield Remark("TWG801", f"allow({kinds}) let nothing pass{_why(base.reason)}", site)
    yield from _comments(_seen_lines(codes.values(), everywhere=everywhere), lines, devices=devices)


def _why(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _seen_lines(codes: Iterable[CodeType], *, everywhere: bool) -> dict[str, set[int] | None]:
    """Files, and the lines of them that are to be looked at; None for all."""
    if everywhere:
        return {file: None for file, kind in list(FILES.items()) if kind == USER}
    seen: dict[str, set[int] | None] = {}
    for code in codes:
        if comments_of(code.co_filename):
            known = seen.setdefault(code.co_filename, set())
            if known is not None:
                known.update(line for _, _, line in code.co_lines() if line)
    return seen


def _comments(seen: dict[str, set[int] | None], used: set[tuple[str, int]], *, devices: bool) -> Iterator[Remark]:
    for file, lines in seen.items():
        for line, comment in comments_of(file).items():
            if lines is not None and line not in lines:
                continue
            if comment.complaint:
                yield Remark("TWG803", comment.complaint, site_at(file, line))
            elif (file, line) not in used and (devices or comment.kinds - _OF_DEVICES):
                kinds = ", ".join(sorted(comment.kinds))
                yield Remark("TWG801", f"allow[{kinds}] let nothing pass{_why(comment.reason)}", site_at(file, line))


def vanished(collector: Collector, found: tuple[Finding, ...]) -> Iterator[Remark]:
    """What the baseline knows and this run did not meet."""
    policy = collector.policy
    if policy is not None and policy.baseline is not None and collector.config.baseline is not None:
        there = {finding.id for finding in found}
        for key, known in policy.baseline.known.items():
            if key not in there:
                yield Remark("TWG802", f"gone: {known}", None)


def without_ignored(
    session: Session, collector: Collector, found: tuple[Finding, ...]
) -> tuple[tuple[Finding, ...], list[Remark]]:
    """The findings that the user's own rule leaves in, and a word about those it left out."""
    config = collector.config
    if config.ignore is None:
        return found, []
    kept = tuple(finding for finding in found if not ignored(session, config, finding))
    left_out = len(found) - len(kept)
    if not left_out:
        return kept, []
    name = getattr(config.ignore, "__qualname__", type(config.ignore).__name__)
    return kept, [Remark("TWG804", f"ignore={name} left out {left_out} of {len(found)} findings", None)]
