"""Looks for the smallest random program that does not fit the model."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings

from modelled.judge import judged
from modelled.once_wrong import ONCE_WRONG
from modelled.programs import PROGRAMS, Program, build


def shown(program: Program, found: list[str]) -> str:
    """A program with its lines' numbers, and what does not fit."""
    lines = [f"{number:3}  {line}" for number, line in enumerate(program.lines, 1)]
    return "\n".join([*lines, *found, ""])


def search(writes: str, examples: int) -> str:
    """The smallest program that does not fit, with the reasons; empty where all fit. The same programs each time."""
    for name, steps in ONCE_WRONG.items():
        program = build(*steps)
        found = judged(program, writes)
        if found:
            return shown(program, [name, *found])

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),  # to explain, hypothesis would take the trace function
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(PROGRAMS)
    def fits(program: Program) -> None:
        found = judged(program, writes)
        if found:
            raise AssertionError(shown(program, found))

    try:
        fits()
    except AssertionError as problem:
        return str(problem)
    return ""
