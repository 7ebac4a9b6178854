"""What the package costs before it is used: an interpreter's start with the activation line, and the import.

    python benchmarks/start_up.py [pairs]

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

SOURCE = Path(__file__).resolve().parent.parent / "src"
LINE = (SOURCE / "tensorwatch_guard.pth").read_text()


def one(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Wall and processor milliseconds of one interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, env=environ, check=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1e3, busy * 1e3


def paired(
    name: str, with_it: list[str], without: list[str], pairs: int, variables: dict[str, str] | None = None
) -> None:
    """Print the median of ``with_it`` over ``without``; the variables are set for ``with_it`` only."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("TENSORWATCH_GUARD")}
    walls, busies = [], []
    for turn in range(pairs + 2):
        a, b = one(with_it, {**plain, **(variables or {})}), one(without, plain)
        if turn >= 2:  # the first ones fill the file cache
            walls.append(a[0] - b[0])
            busies.append(a[1] - b[1])
    wall, busy = statistics.median(walls), statistics.median(busies)
    print(f"{name:<58} {wall:+7.2f} ms wall {busy:+7.2f} ms processor")


def main() -> None:
    """All figures."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    python = [sys.executable, "-I", "-S", "-c"]
    with tempfile.TemporaryDirectory() as one_dir, tempfile.TemporaryDirectory() as other_dir:
        for directory in (one_dir, other_dir):
            Path(directory, "_path.pth").write_text(f"{SOURCE}\n")
        Path(one_dir, "tensorwatch_guard.pth").write_text(LINE)
        read = "import site; site.addsitedir({!r})"
        lined, bare = [*python, read.format(one_dir)], [*python, read.format(other_dir)]
        imported = [*python, read.format(other_dir) + "; import tensorwatch_guard"]
        others = "; import json, argparse, dataclasses"
        busy, busy_bare = [*python, read.format(one_dir) + others], [*python, read.format(other_dir) + others]
        print(f"Python {sys.version.split()[0]}, {pairs} pairs")
        paired("the same twice (noise)", bare, bare, pairs)
        paired("start with the line, variable unset", lined, bare, pairs)
        on = {"TENSORWATCH_GUARD": "1"}
        paired("start with the line, variable set, no torch", lined, bare, pairs, on)
        paired("... in a program that imports other things", busy, busy_bare, pairs, on)
        paired("import tensorwatch_guard", imported, bare, pairs)


if __name__ == "__main__":
    main()
