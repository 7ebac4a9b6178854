"""What the benchmarks share: measuring by turns, small tables, and their JSON.

Figures are processor time of the whole process (all threads, user and system), so that other load on the machine falls out
of them as far as it can. Bare and guarded runs take turns in one process, and a ratio is that of two neighbours. Figures are
medians; "spread" is the distance between their quartiles.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

SOURCES = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(SOURCES))  # a benchmark runs from a checkout, installed or not

import numpy as np  # noqa: E402 - the checkout's package has to be found first
import torch  # noqa: E402

from tensorwatch_guard import guard  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

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


def difference(run: Callable[[int], object], count: int, turns: int = 9, **options: Any) -> dict[str, str]:
    """Columns of a call's cost over bare, in microseconds; the guard is open while ``run(count)`` runs."""
    bare, guarded = by_turns(lambda: run(count), turns, lambda: quiet(**options), inside=True)
    over, spread = middle([(b - a) / count * 1e6 for a, b in zip(bare, guarded, strict=True)])
    return {"bare": f"{middle(bare)[0] / count * 1e6:.2f} us", "over bare": f"{over:+.2f} us", "spread": f"{spread:.2f} us"}


def ratio(run: Callable[[], object], turns: int = 9, **options: Any) -> dict[str, str]:
    """Columns of a whole program's cost: entering, leaving and the report's making included."""
    bare, guarded = by_turns(run, turns, lambda: quiet(**options))
    times, spread = middle([b / a for a, b in zip(bare, guarded, strict=True)])
    return {
        "bare": f"{middle(bare)[0] * 1e3:.1f} ms", "guarded": f"{middle(guarded)[0] * 1e3:.1f} ms", "ratio": f"{times:.3f}",
        "spread": f"{spread:.3f}",
    }  # fmt: skip


def resident() -> float:
    """Resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)


class Tables:
    """What one benchmark found: tables of rows, printed as they come and written at the end."""

    def __init__(self, about: str) -> None:
        parser = argparse.ArgumentParser(description=about)
        parser.add_argument("--json", metavar="FILE", help="also write the figures there")
        self._file: str | None = parser.parse_args().json
        self._tables: list[dict[str, Any]] = []
        self._about = about
        print(about)

    def table(self, title: str) -> None:
        """What follows is a table of its own."""
        self._tables.append({"title": title, "rows": []})
        print(f"\n{title}")

    def row(self, what: str, columns: dict[str, str]) -> None:
        """One measurement."""
        self._tables[-1]["rows"].append({"": what, **columns})
        print(f"  {what:<52}" + "  ".join(f"{name} {value}" for name, value in columns.items()), flush=True)

    def end(self) -> None:
        """Write the JSON, where one was asked for."""
        if self._file is None:
            return
        found = {"about": self._about, "machine": machine(), "tables": self._tables}
        Path(self._file).write_text(json.dumps(found, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Date, kind and load of this machine."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
