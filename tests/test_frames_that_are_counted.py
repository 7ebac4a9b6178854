"""Warnings and records of a log that count frames name the line that they name without a guard."""

from __future__ import annotations

import pytest

from process_runs import run


@pytest.mark.parametrize("settings", [{}, {"TENSORWATCH_GUARD_OPS": "1"}, {"TENSORWATCH_GUARD_WRITES": "exact"}])
def test_the_same_lines_are_named(settings: dict[str, str]) -> None:
    bare = run("counts_frames.py")
    guarded = run("counts_frames.py", TENSORWATCH_GUARD="1", **settings)
    assert "Full backward hook" in bare.stdout
    assert bare.stdout.splitlines()[-1].startswith("warned end")
    assert guarded.stdout == bare.stdout
