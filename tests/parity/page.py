"""Runs the parity suite and prints docs/parity.md: ``python -m parity.page``, with the folder ``tests`` on the path."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from parity.child import MODES
from parity.expected import IN_MODES, known
from parity.harness import Outcome, bare_run, differences, run_modes
from parity.programs import programs_of

HEAD = """<!-- Written by `make parity`: do not edit, run it. -->
# Parity: what changes under the guard

Nothing should. Each program below ran once bare and once inside a guard in every mode, in processes of its own. Held equal,
bit for bit: outputs, gradients, parameters, buffers, optimizer states, with their `_version`s, shapes and flags; random
states; warnings with their lines; exceptions with their texts and lines; what is printed; graphs, graph breaks and
recompilations; modes and tracers left behind. `make test` holds the same programs; that the suite notices a guard that
changes something is tested with contexts that break neutrality on purpose (`tests/parity/breaches.py`).

Modes: """
FOOT = """
"versions of gradients": while any dispatch mode is on, an empty one too, autograd's engine adds up gradients that flow together
in new memory instead of in place. The bits are equal, `_version` of such a fresh gradient is lower. Which additions these were
is not to be seen from outside, so it cannot be given back; see [the ops layer](ops-layer.md).
"""
BREACH = "versions of gradients"


def cell(program: str, mode: str, bare: Outcome, other: Outcome) -> str:
    """What became of one program in one mode."""
    if other.unavailable:
        return "not here"
    found = differences(program, bare, other)
    new = [line for line in found if not known(mode, line)]
    return f"**{len(new)} differ**: `{new[0][:120]}`" if new else BREACH if found else "equal"


def group_table(group: str, modes: tuple[str, ...], folder: Path) -> list[str]:
    """A row for each program of one group."""
    bare = bare_run(group, folder)
    ran = {mode: run_modes(group, [mode], cache=folder / "inductor")[mode] for mode in modes}
    rows = []
    for name, program in programs_of(group).items():
        cells = [cell(name, mode, bare, ran[mode]) if mode in ran else "" for mode in MODES]
        rows.append(f"| {name} | {' | '.join(cells)} | {(program.__doc__ or '').strip().splitlines()[0]} |")
        print(group, *rows[-1:], file=sys.stderr)
    return rows


def main() -> None:
    """Run all groups."""
    calls = {name: ", ".join(f"{key}={value!r}" for key, value in options.items()) for name, options in MODES.items()}
    spelled = ", ".join(f"{name} `guard({call})`" for name, call in calls.items())
    print(HEAD + spelled + ". An empty cell: not run in this mode.\n")
    print(
        f"{time.strftime('%Y-%m-%d')}; {platform.system()} {platform.machine()}, {os.cpu_count()} processors, no accelerator; "
        f"Python {platform.python_version()}, torch {torch.__version__} (one thread), numpy {np.__version__}.\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for group, modes in IN_MODES.items():
            print(f"## {group}\n\n| program | {' | '.join(MODES)} | |\n|---|{'---|' * len(MODES)}---|")
            print("\n".join(group_table(group, modes, Path(folder))) + "\n")
    print(FOOT.strip())


if __name__ == "__main__":
    main()
