"""Both roads of exact mode behind one seam: watch a piece, collect its writes.

Lines for small memory and for what shares a page with strangers, pages for large memory where the kernel lets us. One write
is one event, whichever road saw it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from threading import get_ident
from typing import TYPE_CHECKING, Final

from ..words import Change, Write, WrittenBy
from . import lines, pages
from .graph import sequence_number
from .kernel import PAGE
from .ledger import Piece
from .owners import ArrayOwner
from .pieces import MOVES, RESIZED, STAYS
from .suspects import thread_name
from .versions import Versions

if TYPE_CHECKING:
    from types import CodeType

    from .follow import LineFollower
    from .pages import PageFollower

PAGES_FROM: Final = 64 << 10
"""Bytes from which a piece goes by pages: below, a comparison after each line is cheaper than a page fault's supervisor."""
LINES_UP_TO: Final = 4 << 20
"""Bytes up to which a piece is compared after each line where pages are closed."""
_LOG: Final = 0
"""The key under which the line follower watches the page log; pieces are numbered from 1."""


class Following:
    """The followers of one session, started when the first piece is watched."""

    def __init__(self, writer_of: Callable[[Change, CodeType | None, Mapping[int, int]], WrittenBy | None]) -> None:
        self._lines: LineFollower = lines.make()
        self._lines.writer_of = writer_of
        self._pages: PageFollower | None = None
        self._watched: set[int] = set()
        self._by_page: set[int] = set()
        self._found: list[Write] = []
        self.versions = Versions(self._lines.drop)
        """Of watched pieces."""
        self.refused: dict[str, int] = {}
        """Reasons in words why pieces are not followed, and how many."""

    def watch(self, piece: Piece) -> bool:
        """Follow every write to a piece from now on; False where that cannot be done."""
        if piece.key in self._watched:
            return True
        region = piece.region
        edges = [(region.address, region.nbytes)]
        whole = None
        if region.nbytes >= PAGES_FROM and not piece.file_backed and self._open_pages():
            whole, edges = self._pages.watch(piece.key, region.address, region.nbytes)  # type: ignore[union-attr]
            if whole is not None:
                self._by_page.add(piece.key)
        if whole is None and region.nbytes > LINES_UP_TO:
            return self._refuse("larger than 4 MiB, and pages cannot be watched here")
        hold, item = piece.hold, region.itemsize
        moves = MOVES if piece.owner.may_move else RESIZED if isinstance(piece.owner, ArrayOwner) else STAYS
        answers = [self._lines.watch(piece.key, start, n, hold, start - region.address, item, moves) for start, n in edges]
        followed = all(answers)
        if not followed and whole is None:
            self._lines.unwatch(piece.key)
            return self._refuse(self._lines.why or "the memory is gone")
        if self._pages is not None and self._lines.running:
            self._lines.put(_LOG, self._pages.new_event_view())
        self._watched.add(piece.key)
        self.versions.add(piece)
        if self.versions:
            self._lines.ask_first(self.versions)
        return True

    def watches(self, key: int) -> bool:
        """Whether a piece is followed."""
        return key in self._watched

    def unwatch(self, key: int) -> None:
        """Stop following a piece; at any moment, from any thread."""
        if key not in self._watched:
            return
        self._watched.discard(key)
        self.versions.remove(key)
        if not self.versions:
            self._lines.ask_first(None)
        if key in self._by_page and self._pages is not None:
            self._by_page.discard(key)
            self._pages.unwatch(key)
        self._lines.unwatch(key)

    def collect(self) -> list[Write]:
        """The writes seen since the last call, one event a write."""
        if not self._watched and not self._found:
            return []
        by_line = self._lines.collect()
        self._drain()
        by_page, self._found = self._found, []
        return _merged(by_line, by_page, self._by_page)

    def close(self) -> None:
        """Stop everything."""
        for key in list(self._watched):
            self.unwatch(key)
        self._lines.stop()
        if self._pages is not None:
            self._pages.close()
            self._pages = None

    @property
    def why(self) -> str | None:
        """Why lines are not followed, in words."""
        return self._lines.why

    def _open_pages(self) -> bool:
        if self._pages is not None:
            return True
        if not pages.road()[0]:
            return False
        try:
            self._pages = pages.PageFollower()
        except OSError:
            return False
        self._lines.also = self._drain_at_line
        return True

    def _drain(self) -> None:
        if self._pages is not None and self._by_page:
            self._found += self._pages.collect()

    def _drain_at_line(self) -> None:
        """The same right after a line: what its own thread wrote by page was written ahead of this thread's next node."""
        known = len(self._found)
        self._drain()
        if len(self._found) > known:
            here, number = thread_name(get_ident()), sequence_number()
            for at in range(known, len(self._found)):
                if self._found[at].thread == here:
                    self._found[at] = replace(self._found[at], sequence=number)

    def _refuse(self, reason: str) -> bool:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return False


def _merged(by_line: list[Write], by_page: list[Write], in_pages: Collection[int]) -> list[Write]:
    """A write that both roads saw, or that touched both edges of a piece whose inside goes by pages, is one."""
    found: list[Write] = []
    left = list(by_page)
    for write in by_line:
        last = found[-1] if found else None
        if last is not None and write.key in in_pages and _same_place(last, write) and _of_two_edges(last, write):
            found[-1] = _joined(last, write)
            continue
        twin = next((page for page in left if _same_place(page, write)), None)
        if twin is not None:
            left.remove(twin)
            write = _joined(write, twin)  # noqa: PLW2901
        found.append(write)
    return found + left


def _of_two_edges(one: Write, other: Write) -> bool:
    """Whether a whole page and more lies between two writes that were seen at one time."""
    return one.sequence == other.sequence and max(one.first, other.first) - min(one.last, other.last) >= PAGE


def _same_place(one: Write, other: Write) -> bool:
    return (
        one.key == other.key
        and one.place is not None
        and other.place is not None
        and (one.place.file, one.place.line) == (other.place.file, other.place.line)
    )


def _joined(one: Write, other: Write) -> Write:
    first, last = min(one.first, other.first), max(one.last, other.last)
    known = next((w for w in (one, other) if w.before is not None and (w.first, w.last) == (first, last)), None)
    before, after = (known.before, known.after) if known is not None else (None, None)
    writer = one.writer if one.writer != "unknown" else other.writer
    place = one.place if one.place is not None and one.place.lasti >= 0 else other.place
    by = one.by if one.by == other.by else "both"
    return Write(
        one.key, first, last, before, after, place, one.thread,
        writer, one.exact or other.exact, one.suspects or other.suspects, by,
        one.sequence if one.sequence is not None else other.sequence,
        one.alone or other.alone, one.known_to if one.known_to is not None else other.known_to, max(one.times, other.times),
    )
