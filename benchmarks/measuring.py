"""What the benchmarks share: measuring by turns, and the figures of it.

Figures are processor time of the whole process (all threads, user and system), so that other load on the machine falls out
of them as far as it can. Bare and guarded runs take turns in one process, and a ratio is that of two neighbours. Figures are
medians; "spread" is the distance between their quartiles.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

SOURCES = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(SOURCES))  # a benchmark runs from a checkout, installed or not

import torch  # noqa: E402 - the checkout's package has to be found first
from tables import Cell, Figure, Tables  # noqa: E402

from tensorwatch_guard import guard  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Cell", "Figure", "Tables", "by_turns", "difference", "figure", "middle", "processor", "quiet", "ratio", "resident"]

torch.set_num_threads(1)


def quiet(**options: Any) -> Any:
    """A guard that prints nothing and leaves child processes alone."""
    return guard(report=False, follow_children=False, **options)


def middle(values: list[float]) -> tuple[float, float]:
    """Median, and the distance between the quartiles."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return median, high - low


def processor(run: Callable[[], object]) -> float:
    """Seconds of processor time."""
    began = time.process_time()
    run()
    return time.process_time() - began


def by_turns(
    run: Callable[[], object], turns: int, context: Callable[[], AbstractContextManager[Any]] = quiet, *, inside: bool = False
) -> tuple[list[float], list[float]]:
    """Seconds of bare and of guarded runs, by turns. ``inside``: entering and leaving the guard is not counted."""
    bare, guarded = [], []
    run()
    gc.collect()
    for turn in range(turns + 1):
        plain = processor(lambda: _within(nullcontext, run))
        if inside:
            with context():
                watched = processor(run)
        else:
            watched = processor(lambda: _within(context, run))
        if turn:
            bare.append(plain)
            guarded.append(watched)
    return bare, guarded


def _within(context: Callable[[], AbstractContextManager[Any]], run: Callable[[], object]) -> None:
    with context():
        run()


def figure(values: list[float], unit: str = "", digits: int = 2, **how: Any) -> Figure:
    """The median of what was measured, with its spread."""
    value, spread = middle(values)
    return Figure(value, unit, digits, spread, **how)


def difference(run: Callable[[int], object], count: int, turns: int = 9, **options: Any) -> dict[str, Cell]:
    """Columns of a call's cost over bare, in microseconds; the guard is open while ``run(count)`` runs."""
    bare, guarded = by_turns(lambda: run(count), turns, lambda: quiet(**options), inside=True)
    plain = figure([one / count * 1e6 for one in bare], "us", judged=False)
    over = figure([(b - a) / count * 1e6 for a, b in zip(bare, guarded, strict=True)], "us", sign=True)
    return {"bare": plain, "over bare": over, "spread": over.noise()}


def ratio(
    run: Callable[[], object], turns: int = 9, context: Callable[[], AbstractContextManager[Any]] = quiet
) -> dict[str, Cell]:
    """Columns of a whole program's cost: entering, leaving and the report's making included."""
    bare, guarded = by_turns(run, turns, context)
    times = figure([b / a for a, b in zip(bare, guarded, strict=True)], digits=3)
    return {
        "bare": figure([one * 1e3 for one in bare], "ms", 1, judged=False),
        "guarded": figure([one * 1e3 for one in guarded], "ms", 1, judged=False), "ratio": times, "spread": times.noise(),
    }  # fmt: skip


def resident() -> float:
    """Resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)
