"""Which pages the supervisor has protected, and for whom: watches may overlap, and end at any moment."""

from __future__ import annotations

import contextlib

from tensorwatch_guard.sharing.kernel import PAGE, minus, protect, register, unregister


class Watch:
    """Whole pages ``[start, end)`` under one serial number. One that rests is not armed again by a collection."""

    def __init__(self, serial: int, start: int, end: int) -> None:
        self.serial = serial
        self.start = start
        self.end = end
        self.armed = True
        self.rests = False

    def holds(self, address: int) -> bool:
        return self.start <= address < self.end


class Protection:
    """All watches on one userfaultfd."""

    def __init__(self, uffd: int) -> None:
        self._uffd = uffd
        self._watches: dict[int, Watch] = {}

    def add(self, serial: int, start: int, end: int) -> None:
        """Watch whole pages ``[start, end)``. Raises OSError where the kernel refuses this memory."""
        register(self._uffd, start, end)
        protect(self._uffd, start, end, on=True)
        self._watches[serial] = Watch(serial, start, end)

    def remove(self, serial: int) -> None:
        """Forget a watch; also when its memory has gone already."""
        w = self._watches.pop(serial, None)
        if w is not None:
            for start, end in minus([(w.start, w.end)], [(o.start, o.end) for o in self._watches.values()]):
                with contextlib.suppress(OSError):
                    unregister(self._uffd, start, end)

    def clear(self) -> None:
        """Forget all watches."""
        for serial in list(self._watches):
            self.remove(serial)

    def fired(self, address: int) -> list[Watch]:
        """The watches that a write to ``address`` is news for."""
        return [w for w in self._watches.values() if w.armed and w.holds(address)]

    def open(self, fired: list[Watch]) -> list[tuple[int, int]]:
        """Let a write pass: all pages of its watches, so that one write is one event. Returns what is open now.

        Pages that another armed watch holds stay protected: the same write is news for that one, too.
        """
        for w in fired:
            w.armed = False
        ranges = [(w.start, w.end) for w in fired]
        ranges = minus(ranges, [(w.start, w.end) for w in self._watches.values() if w.armed])
        for start, end in ranges:
            self.free(start, end)
        return ranges

    def free(self, start: int, end: int) -> None:
        """Un-protect pages and wake who waits for them, page by page where part of the memory has gone."""
        try:
            protect(self._uffd, start, end, on=False)
        except OSError:
            if end - start == PAGE:
                with contextlib.suppress(OSError):  # gone: nobody can wait for it
                    unregister(self._uffd, start, end)
                return
            for page in range(start, end, PAGE):
                self.free(page, page + PAGE)

    def arm_all(self, *, resting: bool) -> None:
        """Watch again what was written; what rests only if so wished."""
        for w in self._watches.values():
            if not w.armed and (resting or not w.rests):
                self._arm(w)

    def arm(self, serial: int) -> None:
        """Watch one again, also if it rests."""
        w = self._watches.get(serial)
        if w is not None:
            self._arm(w)

    def rest(self, serial: int, on: bool) -> None:
        """From now on leave a watch open after a write until it is armed by name; or no longer so."""
        w = self._watches.get(serial)
        if w is not None:
            w.rests = on

    def wake_all(self) -> None:
        """Let nothing rest."""
        for w in self._watches.values():
            w.rests = False

    def _arm(self, w: Watch) -> None:
        with contextlib.suppress(OSError):  # its memory has gone; the order to forget it is under way
            protect(self._uffd, w.start, w.end, on=True)
        w.armed = True
