"""Copies that are still under way: ``non_blocking`` ones, between the call and the next synchronisation.

Until then the source must not be written (the device may get the new values) and the result of a copy to the host must not
be read (it may hold the old ones). Both are found from the order of events; any synchronisation ends all copies.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

import torch

from .sharing.ledger import version_probe
from .sites import Trail

if TYPE_CHECKING:
    from .session import Session

MOST_COPIES: Final = 256
MOST_BYTES: Final = 64 << 10
"""Of a source that is remembered byte by byte; of larger ones only the version counter is."""


class Pending:
    """One copy under way; ``memory`` is the host's side."""

    __slots__ = ("address", "at", "contents", "memory", "op", "probe", "to_host", "version")

    def __init__(self, op: str, at: Trail, host: torch.Tensor, to_host: bool) -> None:
        self.op = op
        self.at = at
        self.to_host = to_host
        storage = host.untyped_storage()
        self.memory = weakref.ref(storage)
        self.address = storage.data_ptr()
        self.probe = None if to_host else version_probe(host)
        self.version = self.probe._version if self.probe is not None else 0
        self.contents: bytes | None = None
        if not to_host and storage.nbytes() <= MOST_BYTES:
            self.contents = _bytes_of(storage)

    def overwritten(self) -> bool:
        """Whether the source was written since the copy was started."""
        storage = self.memory()
        if storage is None or storage.data_ptr() != self.address:
            return False
        if self.contents is not None:
            return self.contents != _bytes_of(storage)
        return self.probe is not None and self.probe._version != self.version


def _bytes_of(storage: Any) -> bytes:
    return bytes(torch.empty(0, dtype=torch.uint8).set_(storage).numpy().data)


class InFlight:
    """All copies under way in this process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.pending: list[Pending] = []

    def __bool__(self) -> bool:
        return bool(self.pending)

    def start(self, op: str, at: Trail, host: torch.Tensor, *, to_host: bool) -> None:
        """A copy that does not block was started."""
        del self.pending[: max(len(self.pending) + 1 - MOST_COPIES, 0)]
        self.pending.append(Pending(op, at, host, to_host))
        self._session.sharing = True

    def written(self, address: int, at: Trail) -> None:
        """Host memory is about to be written by a watched call: the source of a copy under way?"""
        for one in [one for one in self.pending if one.address == address and not one.to_host]:
            self._tell(one, at)

    def read(self, address: int, at: Trail) -> None:
        """Host memory is read: the result of a copy under way?"""
        for one in [one for one in self.pending if one.address == address and one.to_host]:
            self._tell(one, at)

    def synchronized(self, at: Trail) -> None:
        """The host waited: all copies are done. Sources that were written meanwhile are told now."""
        for one in [one for one in self.pending if not one.to_host and one.overwritten()]:
            self._tell(one, at)
        self.pending.clear()

    def _tell(self, one: Pending, at: Trail) -> None:
        self.pending.remove(one)
        what = "read before the copy was done" if one.to_host else "source written while the copy was under way"
        tallies = self._session.emit(
            "hazard",
            one.op,
            at,
            key="async-copy",
            details={"type": "async-copy", "certain": True, "what": what, "node": None},
        )
        for tally in tallies:
            tally.link("shared-by", "transfer", one.op, one.at)

    def clear(self) -> None:
        """The session is over."""
        self.pending.clear()
