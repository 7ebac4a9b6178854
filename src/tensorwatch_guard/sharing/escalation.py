"""From an interval to the line: exact mode follows from the start, auto mode after the first write it found.

A write was found between two events A and B. Training loops repeat: in the next turns the memory handed out at the same
site is followed from A to B, the line is named, then everything rests again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..sites import NOWHERE, Trail
from ..words import Change, Write, Writer, WrittenBy
from .attention import EVERYWHERE, Attention
from .cases import LOOKS_AGAIN, PATIENCE, Case
from .following import Following
from .ledger import Alias, Piece
from .moments import BEGIN, END, Stamp, moment_of

if TYPE_CHECKING:
    from types import CodeType

    from .moments import Moment, Mutation

MOST_CASES: Final = 200
MOST_EXPLAINED: Final = 64
"""Exact writes of one piece that are kept in mind until its contents have been compared."""
MOST_EVENTS: Final = 20
"""Writes told of one interval before following rests."""
MOST_AGAIN: Final = 64
AGAIN_GRACE_NS: Final = 30_000_000
AGAIN_SHARE: Final = 0.01
"""Of the time that a program runs, and what short ones may spend: on following known intervals once more."""
NEWS: Final = 3
"""So many times an interval is news; one that was found more often and has no line keeps boundaries awake."""


def _kind_of(piece: Piece) -> tuple[str, int]:
    """What one place hands out may be memory of several kinds, each with a story of its own: a state dict's entries."""
    return piece.region.dtype, len(piece.region.shape)


def _is_at(key: tuple[object, ...], end: tuple[object, ...]) -> bool:
    """Whether an event is at an end of an interval. For a side that has died within a call the call's end will do."""
    return key == end or (end[-1] == 0 and key[-1] == END and key[:-1] == end[:-1])


class Explained(NamedTuple):
    """An exact write that was told at the look ``serial``: a difference from an older look is not told again in its bytes."""

    first: int
    last: int
    serial: int
    by_page: Mutation | None
    """Of a write that a page fault told: where it was is known, how far it went is not."""


class Escalation:
    """Decides what is followed and when.

    ``pieces`` gives the live pieces, ``tell`` gets each exact write with its piece, ``seen`` says when one was last compared,
    ``hold`` hears whether auto mode follows something now.
    """

    def __init__(
        self,
        mode: str,
        attention: Attention,
        pieces: Callable[[], Mapping[int, Piece]],
        tell: Callable[[Piece, Write, tuple[tuple[Any, ...], ...]], Mutation | None],
        writer_of: Callable[[Change, CodeType | None, Mapping[int, int]], WrittenBy | None],
        seen: Callable[[int], Stamp | None],
        hold: Callable[[bool], None],
    ) -> None:
        self._attention = attention
        self._mode = mode
        self._awake: list[Case] = []
        self._pieces = pieces
        self._tell = tell
        self._writer_of = writer_of
        self._seen = seen
        self._hold = hold
        self._started = perf_counter_ns()
        self._again_ns = self._again_since = 0
        self.serial = 0
        """Of the look at which exact writes are told: they were written before it."""
        self.following: Following | None = None
        self._cases: dict[tuple[Any, ...], Case] = {}
        self._explained: dict[int, list[Explained]] = {}
        self._writers: dict[int, tuple[int, Writer]] = {}
        """Who wrote last where the line is not known, and at which look that was collected: its counter was asked then."""
        self._rethink()

    @property
    def mode(self) -> str:
        """``auto`` or ``exact``."""
        return self._mode

    def raise_to(self, mode: str) -> None:
        """A nested guard asks for more."""
        self._mode = mode
        self._rethink()

    def _rethink(self) -> None:
        attention = self._attention
        if self._mode == "exact":
            attention.awake, attention.places = True, EVERYWHERE
            return
        awake = [case for case in list(self._cases.values()) if case.keeps_awake]
        if awake != self._awake:
            self._awake = awake
            attention.places = frozenset(place for case in awake for place in case.places)
        attention.awake = bool(awake)
        self._hold(any(case.armed for case in awake))
        if self._again_since and not awake:
            self._again_ns += perf_counter_ns() - self._again_since
            self._again_since = 0

    # -- called by the engine ------------------------------------------------------------------------------------------

    def shared(self, alias: Alias, moment: Moment) -> None:
        """A new alias: exact mode follows it at once, auto mode while its site's interval is armed."""
        if self.mode == "exact" or any(case.armed and case.site == alias.trail.key for case in list(self._cases.values())):
            self._follow(alias.piece)

    def before_look(self, moment: Moment) -> None:
        """Collect what followers saw before contents are compared."""
        following = self.following
        if following is None:
            return
        self.serial = moment.serial
        for write in following.collect():
            piece = self._pieces().get(write.key)
            if piece is None:
                continue
            if not write.exact or write.place is None:  # one of several lines: it will be found as an interval
                self._writers[write.key] = moment.serial, write.writer
                continue
            told = self._tell(piece, write, self._name(piece, moment, write))
            known = self._explained.setdefault(write.key, [])
            if write.by == "lines":
                known.append(Explained(write.first, write.last, moment.serial, None))
            else:
                known.append(Explained(0, piece.region.nbytes, moment.serial, told))
            del known[:-MOST_EXPLAINED]

    def after_look(self, moment: Moment) -> None:
        """Auto mode: an interval ends or begins here."""
        if self.mode != "auto" or not self._cases:
            return
        key = moment.key
        for case in list(self._cases.values()):
            case.patience -= case.patience > 0
            if case.armed and case.events >= MOST_EVENTS:
                self._disarm(case)
            if case.armed_at == moment.serial:
                continue
            if case.armed and (_is_at(key, case.to_key) or not case.patience):
                self._disarm(case)
            if case.waits and _is_at(key, case.from_key) and not case.armed:
                case.armed_at = moment.serial
                self._arm(case)
        if self._attention.awake:
            self._rethink()

    def begins_at(self, key: tuple[object, ...]) -> bool:
        """Whether an interval that was waited for may begin here: what is young has to be known by then."""
        return any(_is_at(key, case.from_key) and case.waits for case in list(self._cases.values()))

    def explains(self, piece: Piece, change: Change, since: Moment) -> list[Mutation] | None:
        """The writes by page among the exact ones that account for a difference in contents since then.

        None where none does, and the difference is to be told.
        """
        known = [one for one in self._explained.get(piece.key, ()) if since.serial < one.serial]
        if not known or change.first < min(one.first for one in known) or max(one.last for one in known) < change.last:
            return None
        return [one.by_page for one in known if one.by_page is not None]

    def writer_of_interval(self, piece: Piece, since: Moment) -> Writer | None:
        """Who wrote to a piece since then, as a follower saw it; None where none did."""
        serial, writer = self._writers.get(piece.key, (0, None))
        return writer if since.serial < serial else None

    def follow_all(self) -> None:
        """Exact mode was asked for while memory was shared already."""
        for piece in list(self._pieces().values()):
            self._follow(piece)

    def found(self, mutation: Mutation) -> tuple[tuple[Any, ...], ...]:
        """A write was found as an interval. Returns what later exact findings of it name it by."""
        ends = (_kind_of(mutation.piece), mutation.before.key, mutation.after.key)
        keys = tuple((alias.trail.key, *ends) for alias in mutation.aliases)
        if self.mode == "auto":
            for key in keys:
                if key not in self._cases and len(self._cases) < MOST_CASES and mutation.before.trail is not NOWHERE:
                    self._cases[key] = Case(*key)
                    self._rethink()
            self._again(keys, mutation.piece)
        return keys

    def _again(self, keys: tuple[tuple[Any, ...], ...], piece: Piece) -> None:
        """Memory was written in these once more."""
        few = len(piece.aliases) <= MOST_AGAIN >= len(self._pieces())  # of many each line of a turn would cost 0.1 ms and more
        may = few and self._again_ns <= AGAIN_GRACE_NS + AGAIN_SHARE * (perf_counter_ns() - self._started)
        if any([self._cases[key].found(looks_again=may) for key in keys if key in self._cases]):  # noqa: C419 - each is counted
            self._again_since = self._again_since or perf_counter_ns()
            self._rethink()

    def is_news(self, keys: tuple[tuple[Any, ...], ...]) -> bool:
        """Whether one of these intervals, by what ``found`` named them, was not found often yet."""
        return any(key not in self._cases or self._cases[key].seen <= NEWS for key in keys)

    def knows(self, mutation: Mutation) -> tuple[tuple[Any, ...], ...]:
        """The intervals of the same memory that were named by a line, if this write can be theirs: it counts there."""
        sites, kind, who = {alias.trail.key for alias in mutation.aliases}, _kind_of(mutation.piece), mutation.writer
        known = tuple(
            key for key, case in list(self._cases.items())
            if case.named and case.site in sites and case.kind == kind and (who == "unknown" or who in case.writers)
        )  # fmt: skip
        self._again(known, mutation.piece)
        return known

    def doubt(self, mutation: Mutation, used_at: Trail) -> None:
        """Backward may have used what was written somewhere between two events: a line alone has no place in autograd's order.

        So the memory is followed all the way from where it is handed out to that backward, a few times.
        """
        if self._mode != "auto":
            return
        for alias in mutation.aliases:
            ends = (*alias.trail.key, 0), (*used_at.key, BEGIN)
            name = (alias.trail.key, _kind_of(mutation.piece), *ends)
            case = self._cases.get(name)
            if case is None and len(self._cases) < MOST_CASES:
                case = self._cases[name] = Case(*name)
            if case is not None and case.doubts > 0 and not case.armed:
                case.doubts -= 1
                case.named, case.turns, case.events, case.patience = False, 1, 0, PATIENCE
        self._rethink()

    def has_settled(self) -> bool:
        """Whether nothing is followed, and for all memory that was written more than a few times some line is known."""
        if self.mode != "auto" or self._attention.awake:
            return False
        known = {(case.site, case.kind) for case in list(self._cases.values()) if case.named}
        return all(case.seen <= NEWS or (case.site, case.kind) in known for case in list(self._cases.values()))

    def gone(self, piece: Piece) -> None:
        """Its memory is about to go."""
        self._explained.pop(piece.key, None)
        self._writers.pop(piece.key, None)
        if self.following is not None:
            self.following.unwatch(piece.key)

    def close(self) -> None:
        """The session is over."""
        self._cases.clear()
        self._rethink()
        if self.following is not None:
            self.following.close()
            self.following = None

    # -- inside --------------------------------------------------------------------------------------------------------

    def _name(self, piece: Piece, moment: Moment, write: Write) -> tuple[tuple[Any, ...], ...]:
        """The armed intervals that a write to this piece explains: it was seen between their very ends."""
        sites, kind = {alias.trail.key for alias in piece.named}, _kind_of(piece)
        key, last = moment.key, moment_of(self._seen(piece.key)).key
        found = []
        for name, case in list(self._cases.items()):
            if not case.armed or case.site not in sites or case.kind != kind:
                continue
            if _is_at(key, case.to_key) or _is_at(last, case.from_key):
                case.name(write.place and (write.place.file, write.place.line), write.writer)
                found.append(name)
        return tuple(found)

    def _follow(self, piece: Piece) -> bool:
        if self.following is None:
            self.following = Following(self._writer_of)
        return self.following.watch(piece)

    def _arm(self, case: Case) -> None:
        case.turns -= 1
        case.again -= case.named
        case.events, case.patience = 0, LOOKS_AGAIN if case.named else PATIENCE
        case.armed = True
        self._rethink()
        for piece in list(self._pieces().values()):
            if _kind_of(piece) == case.kind and any(alias.trail.key == case.site for alias in piece.named):
                self._follow(piece)

    def _disarm(self, case: Case) -> None:
        case.armed, case.patience = False, PATIENCE
        if case.events >= MOST_EVENTS:
            case.again = 0  # so busy a line is dear to follow once more, and leaves little room for another
        elif case.named and not case.events and case.idle > 0:
            case.idle -= 1
            case.again, case.turns = 1, max(case.turns, 1)
        if self.following is None:
            return
        still = {other.site for other in list(self._cases.values()) if other.armed}
        for piece in list(self._pieces().values()):
            if not any(alias.trail.key in still for alias in piece.named):
                self.following.unwatch(piece.key)


