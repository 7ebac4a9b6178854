"""Runs the programs of this folder in processes of their own, where nobody else traces, watches or has children."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tensorwatch_guard.sharing.pages import road

FOLDER = Path(__file__).parent
SOURCE = FOLDER.parents[1] / "src"

needs_pages = pytest.mark.skipif(not road()[0], reason=f"pages cannot be watched here: {road()[1]}")


def program(name: str, *arguments: str, **options: Any) -> Any:
    """What a program told, which must have ended well."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "2", "PATH": "/usr/bin:/bin"}, **options,
    )  # fmt: skip
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def marked(name: str, mark: str) -> int:
    """The number of the line that ends with the comment ``# mark``."""
    lines = (FOLDER / name).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}")]
    return number
