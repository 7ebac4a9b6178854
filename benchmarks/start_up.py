"""What the package costs before it is used: an interpreter's start with the activation line, the import, the first guard.

    python benchmarks/start_up.py [--json FILE] [--quick]

Each figure is the median of paired differences (with, without, with, without...) of wall time and of processor time, so
that other load on the machine falls on both sides alike. Both read a site directory; one of them has the line in it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import Figure, Tables

SOURCE = Path(__file__).resolve().parent.parent / "src"
LINE = (SOURCE / "tensorwatch_guard.pth").read_text()
PAIRS = 60
ROOMS = "; import tensorwatch_guard.cli, tensorwatch_guard.report.text, tensorwatch_guard.levels"
GUARD = "; from tensorwatch_guard import guard; guard(report=False).__enter__().__exit__(None, None, None)"


def one(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Wall and processor milliseconds of one interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, env=environ, check=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1e3, busy * 1e3


def paired(with_it: list[str], without: list[str], pairs: int, variables: dict[str, str]) -> dict[str, Figure | str]:
    """Columns of ``with_it`` over ``without``; the variables are set for ``with_it`` only."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("TENSORWATCH_GUARD")}
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(pairs + 2):
        a, b = one(with_it, {**plain, **variables}), one(without, plain)
        if turn >= 2:  # the first ones fill the file cache
            for kind in (0, 1):
                found[kind].append(a[kind] - b[kind])
    wall, busy = (_figure(values) for values in found)
    return {"wall": wall, "processor": busy, "spread": busy.noise()}


def _figure(values: list[float]) -> Figure:
    low, median, high = statistics.quantiles(values, n=4)
    return Figure(median, "ms", spread=high - low, sign=True, grain=0.5)


def main() -> None:
    """All figures."""
    tables = Tables("What the package costs before it is used")
    pairs = tables.fewer(PAIRS, 3)
    python = [sys.executable, "-I", "-S", "-c"]
    with tempfile.TemporaryDirectory() as one_dir, tempfile.TemporaryDirectory() as other_dir:
        for directory in (one_dir, other_dir):
            Path(directory, "_path.pth").write_text(f"{SOURCE}\n")
        Path(one_dir, "tensorwatch_guard.pth").write_text(LINE)
        read = "import site; site.addsitedir({!r})"
        lined, bare = read.format(one_dir), read.format(other_dir)
        others, on = "; import json, argparse, dataclasses", {"TENSORWATCH_GUARD": "1"}
        packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        torch = f"{bare}; import sys; sys.path += {packages!r}; import torch"
        tables.table("An interpreter with it, over one without (spread: of the processor time)")
        for name, with_it, without, variables, aim, count in (
            ("the same twice (noise)", bare, bare, {}, "-", pairs),
            ("start with the line, variable unset", lined, bare, {}, "-", pairs),
            ("start with the line, variable set, no torch", lined, bare, on, "-", pairs),
            ("... in a program that imports other things", lined + others, bare + others, on, "-", pairs),
            ("import tensorwatch_guard", f"{bare}; import tensorwatch_guard", bare, {}, "15 ms", pairs),
            ("the command line, levels and reports, no torch", bare + ROOMS, bare, {}, "-", pairs),
            ("a first guard after import torch, over that import", torch + GUARD, torch, {}, "-", max(pairs // 6, 3)),
        ):
            columns = paired([*python, with_it], [*python, without], count, variables)
            tables.row(name, {**columns, "aim": aim})
    tables.end()


if __name__ == "__main__":
    main()
