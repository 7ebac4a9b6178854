"""What the runs of a merged report have in common, and one row a process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..words import RunInfo
from .processes import process_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .model import Report


class Runs:
    """Adds up runs. Ranks have their numbers; families of processes without a rank get numbers below 0."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._first: RunInfo | None = None
        self._layers: dict[str, None] = {}
        self._values: dict[str, dict[Any, None]] = {}
        self._steps: dict[int, int] = {}
        self._numbers: dict[Any, int] = {}
        self._overhead_s = 0.0
        self._duration_s = 0.0
        self._aborted = False
        self._world = 0

    @property
    def ranks(self) -> int:
        """Ranks seen; families of processes without ranks (numbers below 0) are none."""
        return sum(number >= 0 for number in self._steps)

    def missing(self) -> tuple[str, ...]:
        """Words about ranks that left no report."""
        absent = [str(rank) for rank in range(self._world) if rank not in self._steps] if self.ranks else []
        if not absent or len(self.rows) < 2:
            return ()
        named = ", ".join(absent[:8]) + (", ..." if len(absent) > 8 else "")
        return (f"{len(absent)} of {self._world} ranks, which left no report: {named}",)

    def add(self, report: Report) -> int:
        """Note a report's run; returns the number of its rank, or of its family of processes."""
        run = report.run
        self._first = self._first or run
        for name in ("python", "torch", "numpy", "version", "host", "writes", "rank"):
            self._values.setdefault(name, {}).setdefault(getattr(run, name))
        self._layers.update(dict.fromkeys(run.layers))
        self._overhead_s += run.overhead_s
        self._duration_s = max(self._duration_s, run.duration_s)
        self._aborted |= run.aborted
        self._world = max(self._world, run.world_size or 0)
        rows = [dict(row) for row in process_rows(report)] or [_row(report)]
        self.rows += rows
        numbers = [self._number(row) for row in rows]
        for row, number in zip(rows, numbers, strict=True):
            self._steps[number] = max(self._steps.get(number, 0), int(row.get("steps") or 0))
        return numbers[0]

    def _number(self, row: Mapping[str, Any]) -> int:
        if row.get("rank") is not None:
            return int(row["rank"])
        family = (row.get("host"), row.get("parent_pid") or row.get("pid"))
        return self._numbers.setdefault(family, -1 - len(self._numbers))

    def steps_of(self, ranks: Iterable[int]) -> int:
        """Steps of the ranks together in which a finding happened."""
        return sum(self._steps.get(rank, 0) for rank in set(ranks))

    def info(self) -> RunInfo:
        first = self._first or RunInfo()
        extra = {
            key: value for key, value in first.extra.items() if key not in {"role", "parent_pid", "processes"}
        }
        return replace(
            first,
            python=_joined(self._values["python"]),
            torch=_joined(self._values["torch"]),
            numpy=_joined(self._values["numpy"]),
            version=_joined(self._values["version"]),
            host=_joined(self._values["host"]),
            writes=_joined(self._values["writes"]),
            rank=first.rank if len(self._values["rank"]) == 1 else None,
            steps=max(self._steps.values(), default=0),
            duration_s=self._duration_s,
            overhead_s=self._overhead_s,
            aborted=self._aborted,
            layers=tuple(self._layers),
            extra={**extra, "processes": self.rows},
        )


def _joined(seen: Mapping[Any, None]) -> str:
    """One value, or the first few of unlike ones."""
    values = [str(value) for value in seen if value]
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def _row(report: Report) -> dict[str, Any]:
    run, totals = report.run, report.totals
    row = {
        "role": str(run.extra.get("role") or "main"),
        "rank": run.rank,
        "host": run.host,
        "pid": run.pid,
        "parent_pid": run.extra.get("parent_pid"),
        "steps": run.steps,
        "duration_s": run.duration_s,
        "aborted": run.aborted,
        "waits": int(totals.get("blocking", 0)),
        "blocked_s": float(totals.get("blocked_s", 0.0)),
    }
    return {key: value for key, value in row.items() if value is not None}
