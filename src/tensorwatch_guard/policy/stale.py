"""Allowances that let nothing pass, comments that name no kind, and findings that a rule of the user's own left out."""

from __future__ import annotations

import ast
import linecache
from typing import TYPE_CHECKING, Final, NamedTuple

from ..expressions import site_at, site_of
from ..sites import FILES, USER
from ..words import DIRECTIONS
from .allow import NAMES, bases
from .comments import comments_of
from .heed import ignored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType

    from ..collector import Collector
    from ..session import Session
    from ..sites import Trail
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
    use = _use_of(collector)
    for base in bases():
        if base.entered > policy.entered_at and base not in use.blocks and (use.devices or base.kinds - _OF_DEVICES):
            kinds = ", ".join(f'"{kind}"' for kind in sorted(base.kinds))
            site = site_of(base.code, base.lasti)
            yield Remark("TWG801", f"allow({kinds}) let nothing pass{_why(base.reason)}", site)
    seen = _seen_lines(use.codes.values(), everywhere=everywhere)
    block = _block(collector.opened_at) if seen and not everywhere else None
    if block is not None:
        lines = seen.get(block.file)
        if lines is not None:
            seen[block.file] = lines - (block.function - block.lines)
    yield from _comments(seen, use.lines, devices=use.devices)


class _Use(NamedTuple):
    blocks: set[Base]
    lines: set[tuple[str, int]]
    codes: dict[int, CodeType]
    devices: bool


def _use_of(collector: Collector) -> _Use:
    """The allowances that let something pass, and the code in which anything was seen."""
    blocks: set[Base] = set()
    lines: set[tuple[str, int]] = set()
    codes: dict[int, CodeType] = {}
    devices = False
    for _, tally in collector.tallies():
        devices = devices or tally.kind in ("sync", "transfer")
        direction = tally.details.get("direction")
        base = tally.grant.covering(tally.kind, direction) if tally.grant is not None else None
        if base is not None:
            blocks.add(base)
        code = tally.trail.code or (tally.trail.place.code if tally.trail.place is not None else None)
        if code is None:
            continue
        codes[id(code)] = code
        comments = comments_of(code.co_filename)
        site = tally.trail.site if comments else None
        if site is not None:
            for line in range(site.line, (site.end_line or site.line) + 1):
                if line in comments and not comments[line].kinds.isdisjoint(NAMES[tally.kind, direction]):
                    lines.add((site.file, line))
    return _Use(blocks, lines, codes, devices)


def used_allowances(collector: Collector) -> set[tuple[str, int]]:
    """Files and lines of the allowances that let something pass."""
    use = _use_of(collector)
    sites = (site_of(base.code, base.lasti) for base in use.blocks)
    return use.lines | {(site.file, site.line) for site in sites}


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


class _Block(NamedTuple):
    file: str
    function: set[int]
    """Lines of the function in which the guard was entered, and"""
    lines: set[int]
    """those of the ``with`` statement alone."""


def _block(at: Trail) -> _Block | None:
    """The ``with`` block of a guard: what stands before or after it in the same function did not run under it."""
    site = at.site
    if at.code is None or site is None:
        return None
    try:
        tree = ast.parse("".join(linecache.getlines(site.file)))
    except (SyntaxError, ValueError):
        return None
    function = {line for _, _, line in at.code.co_lines() if line}
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith) and any(
            item.context_expr.lineno <= site.line <= (item.context_expr.end_lineno or 0) for item in node.items
        ):
            return _Block(site.file, function, set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
    return None


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
        from .baseline import key_of

        there = {key_of(finding) for finding in found}
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
