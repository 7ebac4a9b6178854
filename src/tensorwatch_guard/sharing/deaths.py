"""The end of one side of shared memory: a last look while the memory is still there, then nothing of it is read any more."""

from __future__ import annotations

import queue
import sys
import weakref
from typing import TYPE_CHECKING

from ..sites import trail
from .interrupted import pass_on
from .ledger import Alias
from .moments import now

if TYPE_CHECKING:
    from .writes import Writes


class Deaths:
    """Those of one session."""

    def __init__(self, writes: Writes) -> None:
        self._writes = weakref.proxy(writes)
        self._waiting: queue.SimpleQueue[Alias] = queue.SimpleQueue()

    def died(self, alias: Alias) -> None:
        """Called from a weak reference's call-back: any thread, any moment. The memory is still there; nothing may raise."""
        writes = self._writes
        if alias.closed or writes.is_left:
            return
        if not writes.lock.acquire(blocking=False):
            self._waiting.put(alias)
            writes.contents.drop(alias.piece.key)
            return
        try:
            self.bury()
            self._close(alias)
        finally:
            writes.lock.release()

    def bury(self) -> None:
        """Close those whose death came while somebody looked."""
        while True:
            try:
                alias = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._writes.release(alias)

    def _close(self, alias: Alias) -> None:
        writes = self._writes
        try:
            if alias.piece.key in writes.ledger.pieces:
                self._last_look(alias)
        finally:  # whatever went wrong, memory that goes is looked at no more
            gone = writes.ledger.close(alias)
            if gone is not None:
                writes.forget(gone)

    def _last_look(self, alias: Alias) -> None:
        writes, piece = self._writes, alias.piece
        piece.dying = alias.lender
        try:
            followed = writes.escalation is not None and writes.escalation.following is not None
            lives_on = len(piece.aliases) > 1
            moment = now(trail(sys._getframe(3))) if followed or lives_on else None
            if followed and moment is not None:
                writes.escalation.before_look(moment)
            found = writes.contents.look([piece.key], stamp=moment if lives_on else None)
            if found:
                writes.verdicts.report(found, moment or now(trail(sys._getframe(3))))
        finally:
            piece.dying = None


class Death:
    """A weak reference's call-back: closes one alias, once."""

    __slots__ = ("_alias", "_deaths")

    def __init__(self, deaths: Deaths, alias: Alias) -> None:
        self._deaths = deaths
        self._alias = alias

    def __call__(self, _reference: object) -> object:
        try:
            self._deaths.died(self._alias)
        except BaseException as error:
            return pass_on(error)
        return None
