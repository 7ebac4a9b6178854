"""Writing on the way without a thread: jobs that the first event after their time runs."""

from __future__ import annotations

import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from ..session import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND: Final = 1_000_000_000
RETRY: Final = 30 * SECOND
"""After that a job that has failed is tried again."""


class Clock:
    """Jobs by name; each says in how many nanoseconds it is to run again, or 0 for never."""

    def __init__(self) -> None:
        self._jobs: dict[object, tuple[int, Callable[[], int]]] = {}
        self._lock = threading.Lock()

    def put(self, name: object, after: int, job: Callable[[], int]) -> None:
        """Run a job at the first event after so many nanoseconds."""
        self._jobs[name] = (perf_counter_ns() + after, job)
        self._set()

    def hurry(self, name: object, at: int) -> None:
        """Run a job earlier, at the first event after ``at``."""
        known = self._jobs.get(name)
        if known is not None and at < known[0]:
            self._jobs[name] = (at, known[1])
            self._set()

    def drop(self, name: object) -> None:
        """Run it no more."""
        if self._jobs.pop(name, None) is not None:
            self._set()

    def clear(self) -> None:
        """In a forked child: none of the parent's jobs is ours, and its lock may be held by nobody."""
        self._jobs = {}
        self._lock = threading.Lock()
        self._set()

    def _set(self) -> None:
        times = [time for time, _ in list(self._jobs.values())]
        SESSION.beat = self._beat
        SESSION.beat_at = min(times, default=0)

    def _beat(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            now = perf_counter_ns()
            for name, (time, job) in list(self._jobs.items()):
                if time <= now:
                    self._jobs[name] = (perf_counter_ns() + RETRY, job)  # if it raises: the next event must not run it again
                    again = job()
                    if again and name in self._jobs:
                        self._jobs[name] = (perf_counter_ns() + again, job)
                    else:
                        self._jobs.pop(name, None)
        finally:
            self._lock.release()
            self._set()


CLOCK: Final = Clock()
