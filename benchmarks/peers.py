"""Who finds what: the acceptance cases under other tools and under the guard, marker by marker.

PYTHONPATH=tests python benchmarks/peers.py [FOLDER ...]    also cases of other folders; writes docs/peers.md

A case is a script whose comments say what there is to find (``# expect: sync``, see tests/judging/markers.py). A tool is given
a marker when it says so at that line; it need not use our words: a synchronizing copy that a tool calls a wait counts for
both, an operation that a tool lists counts for what the operation always is (``_local_scalar_dense`` is a read). What a tool
lists without saying that memory is shared counts for no alias and no mutation.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import runpy
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.profiler
from torch.utils._debug_mode import DebugMode

from judging.markers import Case, read_case
from judging.verdict import lines_of
from tensorwatch_guard import guard, simulated_accelerator
from tensorwatch_guard.words import KINDS

HERE = Path(__file__).resolve().parent
Sighting = tuple[str, int | None]
"""A kind, and the line at which a tool says it, or None where it does not say."""
Execute = Callable[[], None]

PARTS: Final = {
    "_local_scalar_dense": ("read", "sync"), "item": ("read", "sync"), "is_nonzero": ("read", "sync"),
    "_to_copy": ("transfer",), "copy_": ("transfer",), "nonzero": ("sync",), "masked_select": ("sync",),
}  # fmt: skip
"""Operations that are always a read, a wait or a copy, for tools that list operations."""
LIMIT_S: Final = 120


# -- the tools: each runs a case and returns what it said --------------------------------------------------------------


def _user_line(frames: Iterable[tuple[str, int]], case: Path) -> int | None:
    return next((line for file, line in frames if Path(file).name == case.name), None)


def sync_debug_mode(execute: Execute, case: Path) -> list[Sighting]:
    """``torch.cuda.set_sync_debug_mode("warn")``: a warning for each wait, at the innermost Python line."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with contextlib.suppress(AssertionError, RuntimeError):  # no CUDA here, and none simulated
            torch.cuda.set_sync_debug_mode("warn")
        execute()
    told = [one for one in seen if "synchronizing" in str(one.message)]
    lines = [one.lineno if Path(one.filename).name == case.name else None for one in told]
    return [(kind, line) for line in lines for kind in ("sync", "transfer")]


def profiler(execute: Execute, case: Path) -> list[Sighting]:
    """``torch.profiler`` with stacks: the operations that ran, and from which function (its line is the function's first)."""
    verbose = torch._C._profiler._ExperimentalConfig(verbose=True)
    with torch.profiler.profile(with_stack=True, experimental_config=verbose) as found:
        execute()
    seen: list[Sighting] = []
    for event in found.events() or ():
        name = event.name.removeprefix("aten::")
        seen += [(kind, None) for kind in PARTS.get(name, ()) if any(case.name in entry for entry in event.stack or ())]
    return seen


def debug_mode(execute: Execute, case: Path) -> list[Sighting]:
    """``DebugMode`` with stack traces: a dispatch mode that lists every operation."""
    with DebugMode(record_stack_trace=True) as mode:
        execute()
    seen: list[Sighting] = []
    for call in mode.operators:
        operation = getattr(call, "op", None)
        name = str(getattr(operation, "__name__", operation)).split(".", maxsplit=1)[0]
        frames = re.findall(r'File "(.+?)", line (\d+)', getattr(call, "stack_trace", None) or "")
        line = _user_line(((file, int(number)) for file, number in reversed(frames)), case)
        seen += [(kind, line) for kind in PARTS.get(name, ())]
    return seen


def anomaly(execute: Execute, case: Path) -> list[Sighting]:
    """``detect_anomaly``: where the forward of a backward that fails was."""
    error: BaseException | None = None
    with warnings.catch_warnings(record=True) as seen, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        try:
            execute()
        except RuntimeError as raised:
            error = raised
    told = [one for one in seen if "Error detected in" in str(one.message)]
    if not told and error is None:
        return []
    frames = [(step.filename, step.lineno or 0) for step in traceback.extract_tb(error.__traceback__)] if error else []
    return [("hazard", _user_line(reversed(frames), case))]


def _guarded(writes: str, *, ops: bool = False) -> Callable[[Execute, Path], list[Sighting]]:
    def run(execute: Execute, case: Path) -> list[Sighting]:
        known = read_case(case)
        options = list(known.options)
        with guard(report=False, writes=writes, ops=ops or "--ops" in options, census="--census" in options) as g:
            execute()
        seen: list[Sighting] = []
        for number, finding in enumerate(g.report.to_json()["findings"]):
            exact = finding["kind"] != "mutation" or bool(finding["details"].get("exact"))
            if not exact:
                seen += [(f"between {number}", line) for line in lines_of(finding, known, exact=False)]
            else:
                seen += [(finding["kind"], line) for line in lines_of(finding, known, exact=True)]
        return seen

    return run


TOOLS: Final[dict[str, Callable[[Execute, Path], list[Sighting]]]] = {
    "set_sync_debug_mode": sync_debug_mode,
    "profiler": profiler,
    "DebugMode": debug_mode,
    "detect_anomaly": anomaly,
    "guard": _guarded("auto"),
    'guard(writes="exact")': _guarded("exact"),
}


# -- running -----------------------------------------------------------------------------------------------------------


def _in_fork(work: Callable[[], Any]) -> Any:
    """What some work returns, as JSON; None where its process died or took too long."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        with contextlib.suppress(BaseException), os.fdopen(write, "w") as pipe:
            pipe.write(json.dumps(work()))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def sightings(tool: str, case: Case) -> list[Sighting] | None:
    """What a tool says of a case; None where the case could not run under it."""
    simulated = "--simulate" in case.options

    def execute() -> None:
        sys.argv = [str(case.path)]
        with contextlib.suppress(SystemExit):
            runpy.run_path(str(case.path), run_name="__main__")

    def work() -> list[Sighting]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            torch.set_num_threads(1)
            with simulated_accelerator("cuda") if simulated else contextlib.nullcontext():
                return TOOLS[tool](execute, case.path)

    found = _in_fork(work)
    return None if found is None else [(kind, line) for kind, line in found]


def _narrowest(intervals: dict[str, set[int | None]], line: int) -> str | None:
    holding = [name for name, lines in intervals.items() if line in lines]
    return min(holding, key=lambda name: len(intervals[name]), default=None)


class Score:
    """Of the markers of one kind: how many a tool names at the line, how many it knows of somewhere, how many there are."""

    def __init__(self) -> None:
        self.at_line: Counter[tuple[str, str]] = Counter()
        self.somewhere: Counter[tuple[str, str]] = Counter()
        self.all: Counter[tuple[str, str]] = Counter()
        self.died: dict[str, list[str]] = {}

    def add(self, tool: str, case: Case, seen: list[Sighting] | None) -> None:
        """Count one run."""
        if seen is None:
            self.died.setdefault(tool, []).append(case.path.stem)
            seen = []
        lines = {(kind, line) for kind, line in seen if line is not None}
        placeless = Counter(kind for kind, line in seen if line is None)
        intervals: dict[str, set[int | None]] = {}
        for kind, line in lines:
            if kind.startswith("between"):
                intervals.setdefault(kind, set()).add(line)
        for marker in case.markers(exact="exact" in tool):
            if not marker.demanded:
                continue
            key = (tool, marker.kind)
            self.all[key] += 1
            if (marker.kind, marker.line) in lines:
                self.at_line[key] += 1
            elif placeless[marker.kind] > 0:
                self.somewhere[key] += 1
                placeless[marker.kind] -= 1
            elif marker.kind == "mutation" and (one := _narrowest(intervals, marker.line)):
                self.somewhere[key] += 1
                del intervals[one]  # one interval stands for one write

    def cell(self, tool: str, kind: str) -> str:
        """How a table shows it."""
        if kind == "refusal" and not tool.startswith("guard"):
            return "raised by PyTorch"
        key = (tool, kind)
        more = f" (+{self.somewhere[key]})" if self.somewhere[key] else ""
        return f"{self.at_line[key]}{more} of {self.all[key]}"


HEAD = """<!-- Written by `make peers`: do not edit, run it. -->
# Who finds what

The acceptance cases (scripts whose comments say what there is to find) ran once under each tool. "12 (+3) of 20": of
twenty markers of the kind, twelve are named at their line, three more are known without it (as an interval between two
lines, or without a place). The rules of counting stand in `benchmarks/peers.py`; they give a tool a marker whenever its
output holds it, whatever it calls it. The cases were written for this project, so they ask for what it looks for: read the
text below, too.
"""
FOOT = """
What the figures do not say:

- **`torch.cuda.set_sync_debug_mode`** exists for CUDA alone; here it ran on the simulated accelerator, which warns where CUDA
  warns. On a real GPU it sees every wait inside PyTorch's C++ without a list of operations, costs nothing, and raises at the
  very call. It names the innermost Python line (in a framework that is the framework's), does not count, and knows neither
  explicit `torch.cuda.synchronize()` nor anything of host memory. Where all you ask is "does this loop wait", use it.
- **`torch.profiler`** measures: kernels, times, overlap, memory, what the device did meanwhile. Nothing here does that. A
  read shows as `aten::item` among all other operations, with the function it stood in and the line at which that function
  begins; which of them is a mistake is yours to see. Use it to learn where time goes. Where
  a case gave no answer under it, the tool need not be to blame for the program: in the one such case that was looked into,
  PyTorch 2.13 raised `UnicodeDecodeError` when the stack events were read back, also without the guard; which cases are hit
  changes from run to run.
- **`DebugMode`** lists every operation with shapes, also inside C++ and in backward, and can hash tensors to find where two
  runs part. In-place writes are in its list; that an array shares the memory, and writes through the array, are not.
- **Anomaly detection** names the forward line of a backward that fails or makes NaN, which the guard does not look for. Values
  overwritten behind autograd's counter make neither.
- **Refusals** are exceptions of PyTorch's own, at the line: nobody needs a tool to get them. The guard adds the remedy, and
  counts those that a library swallows.
- Of **shared memory** (aliases, later writes, what they broke) none of the others speaks.
"""


def page(scores: Score, cases: list[Case], seconds: float) -> str:
    """The table in Markdown."""
    kinds = [kind for kind in KINDS if any(scores.all[tool, kind] for tool in TOOLS)]
    where = (
        f"{time.strftime('%Y-%m-%d')}; {len(cases)} cases, {platform.system()} {platform.machine()}, {os.cpu_count()} "
        f"processors, no accelerator; Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}; "
        f"{seconds:.0f} s in all.\n"
    )
    lines = [HEAD, where, f"| | {' | '.join(f'`{tool}`' for tool in TOOLS)} |", "|---|" + "---|" * len(TOOLS)]
    lines += [f"| {kind} | {' | '.join(scores.cell(tool, kind) for tool in TOOLS)} |" for kind in kinds]
    died = "; ".join(f"`{tool}`: {', '.join(names)}" for tool, names in scores.died.items())
    if died:
        lines += ["", f"Cases without an answer under a tool, or not within {LIMIT_S} s (see below): {died}."]
    return "\n".join(lines) + "\n" + FOOT


def main(folders: list[str]) -> None:
    """Run all cases under all tools."""
    everywhere = (HERE.parent / "tests" / "cases", *map(Path, folders))
    paths = [path for folder in everywhere for path in sorted(folder.glob("*.py"))]
    cases = [read_case(path.resolve()) for path in paths if "expect" in path.read_text()]
    scores, started = Score(), time.perf_counter()
    for case in cases:
        print(case.path.stem, file=sys.stderr)
        for tool in TOOLS:
            scores.add(tool, case, sightings(tool, case))
    (HERE.parent / "docs" / "peers.md").write_text(page(scores, cases, time.perf_counter() - started), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
