"""Whatever function of ours fails, wherever: the program computes what it computes, and nothing stays in place.

Every function that the package itself calls is broken once (`faults.everywhere`): by an error on each call, and by an
interrupt, which has to arrive.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from process_runs import SOURCE, launch


@pytest.mark.parametrize(("error", "guards"), [("bug", 4), ("interrupt", 1)])
def test_each_function_fails_in_turn(error: str, guards: int, tmp_path: Path) -> None:
    paths = os.pathsep.join(map(str, (SOURCE, Path(__file__).parent)))
    ended = launch([sys.executable, "-W", "ignore", "-m", "faults.everywhere"], error, guards, PYTHONPATH=paths)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["broken"] > 250
    assert not found["problems"], "\n".join(f"{where}: {what}" for where, what in found["problems"].items())
