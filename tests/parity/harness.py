"""Runs groups of programs in processes of their own and tells in what two runs differ.

`run_modes` runs a group in one mode or several, `bare_run` what they are held against; `differences` compares.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterable

TESTS = Path(__file__).resolve().parent.parent
SOURCE = TESTS.parent / "src"
LIMIT_S = 240
SHOWN = 8
SHOWN_TEXT = 600


@dataclass(frozen=True)
class Outcome:
    """What one process said: notes and warnings by program, what it printed, or why the mode cannot be had."""

    programs: dict[str, Any] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    unavailable: str | None = None
    failure: str | None = None


def _environment(cache: Path | None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TENSORWATCH_GUARD", "COV_"))}
    kept.pop("PYTHONWARNINGS", None)
    path = os.pathsep.join([str(TESTS), str(SOURCE)])
    kept.update(PYTHONPATH=path, OMP_NUM_THREADS="1", PYTHONHASHSEED="0", PYTHONIOENCODING="utf-8")
    if cache is not None:
        # The shared folder holds compiled C++ alone: the graphs are lowered anew in every process.
        kept.update(
            TORCHINDUCTOR_CACHE_DIR=str(cache),
            TORCHINDUCTOR_FX_GRAPH_CACHE="0",
            TORCHINDUCTOR_COMPILE_THREADS="1",
            TORCHINDUCTOR_CPP_USE_PRECOMPILED_HEADERS="0",
            AUTOGRAD_CACHE="0",
            TORCHINDUCTOR_AUTOGRAD_CACHE="0",
        )
    return kept


def _split(printed: str) -> dict[str, str]:
    parts = printed.split("--- ")[1:]
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


def run_modes(
    group: str, modes: Iterable[str], programs: Iterable[str] = (), cache: Path | None = None
) -> dict[str, Outcome]:
    """Run one group in a new process; where there are several modes, each in a fork of it."""
    wanted = list(modes)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "parity.child", group, ",".join(wanted), folder, *programs]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=_environment(cache),
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return dict.fromkeys(wanted, Outcome(failure=f"{group} in {wanted} did not end within {LIMIT_S} s"))
        if done.returncode:
            reason = f"{group} in {wanted} ended with {done.returncode}: {done.stderr[-3000:]}"
            return dict.fromkeys(wanted, Outcome(failure=reason))
        said = {mode: json.loads((Path(folder) / f"{mode}.json").read_text()) for mode in wanted}
    printed = _split(done.stdout) if len(wanted) == 1 else {}
    return {mode: Outcome(one.get("programs", {}), printed, one.get("unavailable")) for mode, one in said.items()}


def bare_run(group: str, folder: Path) -> Outcome:
    """The bare run of a group; ``folder`` is shared by all test processes, so that it runs once."""
    kept = folder / f"parity-{group}.json"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            kept.write_text(json.dumps(asdict(run_modes(group, ["bare"], cache=folder / "inductor")["bare"])))
    return Outcome(**json.loads(kept.read_text()))


def _unlike(bare: Any, other: Any, where: str) -> list[str]:
    if isinstance(bare, dict) and isinstance(other, dict):
        found = []
        for key in [*bare, *(key for key in other if key not in bare)]:
            if key in bare and key in other:
                found += _unlike(bare[key], other[key], f"{where}/{key}")
            else:
                side = "bare" if key in bare else "under the guard"
                found.append(f"{where}/{key}: only {side}: {(bare | other)[key]!r}"[:SHOWN_TEXT])
        return found
    if isinstance(bare, list) and isinstance(other, list) and len(bare) == len(other):
        pairs = enumerate(zip(bare, other, strict=True))
        return [told for n, pair in pairs for told in _unlike(*pair, f"{where}[{n}]")]
    return [] if bare == other else [f"{where}: {bare!r} -> {other!r}"[:SHOWN_TEXT]]


def differences(program: str, bare: Outcome, other: Outcome) -> list[str]:
    """In what a program's run under the guard differs from its bare run, one line a difference."""
    for outcome in (bare, other):
        if outcome.failure:
            return [outcome.failure]
    found = _unlike(bare.programs.get(program), other.programs.get(program), program)
    found += _unlike(bare.printed.get(program), other.printed.get(program), f"{program}: printed")
    return found


def shown(found: list[str]) -> str:
    """The first differences, one a line."""
    more = f"\n... and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "\n".join(found[:SHOWN]) + more
