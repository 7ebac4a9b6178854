"""Allowances that are written as comments: ``# tensorwatch: allow[sync, d2h] reason`` on the line of the expression."""

from __future__ import annotations

import io
import linecache
import re
import tokenize
from typing import TYPE_CHECKING, Final, NamedTuple

from ..levels import hint
from .allow import ALLOWABLE, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..collector import Tally
    from ..words import Site

_MARK: Final = "tensorwatch:"
_COMMENT: Final = re.compile(r"#.*?\btensorwatch:\s*allow(?:\[([^\]]*)\])?\s*[-:]*\s*(.*)$")


class Comment(NamedTuple):
    """What a comment allows, and why. ``unknown`` are words in its brackets that name nothing."""

    kinds: frozenset[str]
    reason: str
    unknown: tuple[str, ...]

    @property
    def complaint(self) -> str:
        """What is wrong with it, or nothing."""
        good = ", ".join(ALLOWABLE)
        if not self.kinds and not self.unknown:
            return f"this comment names no kind, write allow[sync]; kinds: {good}"
        words = ", ".join(f"{word!r}{hint(word, ALLOWABLE)}" for word in self.unknown)
        return f"this comment allows nothing: there is no kind {words}; kinds: {good}" if self.unknown else ""


_known: dict[str, tuple[list[str], dict[int, Comment]]] = {}


def comments_of(file: str) -> Mapping[int, Comment]:
    """The allowances of a source file by line. Read once for as long as ``linecache`` holds the file."""
    lines = linecache.getlines(file)
    known = _known.get(file)
    if known is None or known[0] is not lines:
        known = _known[file] = lines, dict(_read(lines)) if any(_MARK in line for line in lines) else {}
    return known[1]


def allowed_at(site: Site | None, tally: Tally) -> str | None:
    """The reason given on one of the site's lines for what happened there; None where it is not allowed.

    Where only an interval is known, a line that may have run in it will do: what it may have done is no news.
    """
    between = tally.details.get("between")
    if between and not tally.details.get("inside"):
        return _allowed_between(between[0].site, between[1].site, tally.kind)
    comments = comments_of(site.file) if site is not None else {}
    lines = range(site.line, (site.end_line or site.line) + 1) if comments and site is not None else ()
    return _reason(comments, lines, tally.kind, tally.details.get("direction"))


def _allowed_between(first: Site | None, last: Site | None, kind: str) -> str | None:
    """Where a loop turned, or the two ends are not in one function, any line of the file may have run."""
    end = first or last
    comments = comments_of(end.file) if end is not None else {}
    if first is None or last is None or first.function != last.function or first.line >= last.line:
        return _reason(comments, comments, kind, None)
    return _reason(comments, range(first.line, (last.end_line or last.line) + 1) if comments else (), kind, None)


def _reason(comments: Mapping[int, Comment], lines: Iterable[int], kind: str, direction: object) -> str | None:
    for line in lines:
        comment = comments.get(line)
        if comment is not None and not comment.unknown and not comment.kinds.isdisjoint(NAMES[kind, direction]):
            return comment.reason
    return None


def _read(lines: list[str]) -> Iterator[tuple[int, Comment]]:
    for number, text in _comment_tokens(lines):
        match = _COMMENT.search(text)
        if match is not None:
            words = tuple(word for part in (match[1] or "").split(",") if (word := part.strip()))
            kinds = frozenset(word for word in words if word in ALLOWABLE)
            unknown = tuple(word for word in words if word not in ALLOWABLE)
            yield number, Comment(kinds, match[2].strip(), unknown)


def _comment_tokens(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Comments, not texts that look like one. Source that is no Python (a notebook's magics) is read by line."""
    source = io.StringIO("".join(lines))
    try:
        tokens = [token for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError):
        yield from ((number, line.rstrip()) for number, line in enumerate(lines, 1) if _MARK in line)
        return
    yield from ((token.start[0], token.string) for token in tokens if _MARK in token.string)
