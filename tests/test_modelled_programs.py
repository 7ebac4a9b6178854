"""Random programs of shares, views, writes, reads and deaths: aliases and later writes are told as a plain model has them.

Every change that the guard had to look at is told, nothing else is; the interval holds the true line, the elements are the
true ones, the writer is right or unknown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from modelled.judge import judged
from modelled.programs import build
from modelled.searching import search, shown
from process_runs import SOURCE, launch

EXAMPLES = 200


def test_check_tells_what_the_model_has() -> None:
    problem = search("check", EXAMPLES)
    assert not problem, problem


@pytest.mark.parametrize("mode", ["exact", "auto"])
def test_following_tells_what_the_model_has(mode: str) -> None:
    paths = os.pathsep.join(map(str, (SOURCE, Path(__file__).parent)))
    done = launch([sys.executable, "-m", "modelled.child"], mode, EXAMPLES, PYTHONPATH=paths)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_judge_finds_what_is_wrong() -> None:
    program = build((0, 0), [("share", 0, 0, 0), ("write", 0, 4, 1), ("check", 0, 0, 0)])
    found = judged(program, "off")  # looks at nothing, tells nothing
    assert any("missed" in problem for problem in found), shown(program, found)
