"""Training under the guard computes bit for bit what it computes without: programs run both ways and are held equal.

Each group of programs runs once bare and once in every mode, in processes of its own. What is compared stands in
`parity.record` (values, versions, exceptions) and `parity.child` (warnings, states left behind, what was printed).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parity.child import MODES
from parity.harness import AT_ONCE, Outcome, Runs, differences, run_modes, shown
from parity.programs import GROUPS, programs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("parity")

IN_MODES = {
    "training": ("default", "check", "exact", "ops"),
    "sharing": ("default", "check", "exact", "ops"),
    "language": ("default", "exact", "ops"),
    "loading": ("default", "exact", "ops"),
    "compiling": ("default", "exact", "ops"),
    "inductor": ("default", "ops"),
}
CASES = [(group, mode, name) for group in GROUPS for mode in IN_MODES[group] for name in programs_of(group)]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All processes that the chosen tests need, two at a time from the start."""
    made = Runs(tmp_path_factory.mktemp("inductor"))
    for item in request.session.items:
        if item.path == Path(__file__) and isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            chosen = item.callspec.params
            if "group" in chosen:
                made.start(chosen["group"], chosen["mode"])
    yield made
    made.close()


@pytest.mark.parametrize(("group", "mode", "name"), CASES, ids=str)
def test_the_guard_changes_nothing(runs: Runs, group: str, mode: str, name: str) -> None:
    outcome = runs.outcome(group, mode)
    if outcome.unavailable:
        pytest.skip(outcome.unavailable)
    found = differences(name, runs.outcome(group, "bare"), outcome)
    assert not found, shown(found)


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_is_left_out(mode: str) -> None:
    assert any(mode in modes for modes in IN_MODES.values())


CAUGHT_BY = {
    "consumes_torch_random": ("training", "adam_foreach", "left: torch rng"),
    "consumes_python_random": ("training", "adam_foreach", "left: python rng"),
    "bumps_versions": ("training", "adam_fused", "model.0.weight/version"),
    "swallows_versions": ("training", "adam_foreach", "model.0.weight/version"),
    "removes_in_place_check": ("sharing", "stale_writes", "fill_: error"),
    "breaks_pickling": ("language", "pickling", "from_numpy"),
    "breaks_graphs": ("compiling", "partial_graphs", "graph breaks"),
    "moves_warnings": ("sharing", "conversions_that_warn", "warnings"),
    "warns": ("sharing", "random_states", "warnings"),
    "wraps_errors": ("sharing", "refusals", "numpy: error"),
    "changes_values": ("sharing", "routes", "taken/numpy"),
    "leaves_a_tracer": ("training", "differentiable_step", "left: tracers"),
}


@pytest.fixture(scope="module")
def breached() -> dict[str, dict[str, Outcome]]:
    """The programs that catch a breach, by group and context: bare twice, and inside each breach."""

    def run(group: str) -> dict[str, Outcome]:
        own = [(breach, name) for breach, (where, name, _) in CAUGHT_BY.items() if where == group]
        programs = dict.fromkeys(name for _, name in own)
        return run_modes(group, ["bare", "bare again", *(breach for breach, _ in own)], programs)

    groups = sorted({group for group, _, _ in CAUGHT_BY.values()})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(groups, pool.map(run, groups), strict=True))


@pytest.mark.parametrize("breach", CAUGHT_BY)
def test_a_breach_of_neutrality_is_caught(breached: dict[str, dict[str, Outcome]], breach: str) -> None:
    group, name, where = CAUGHT_BY[breach]
    outcome = breached[group][breach]
    assert outcome.unavailable is None
    assert outcome.failure is None
    found = differences(name, breached[group]["bare"], outcome)
    assert any(where in line for line in found), shown(found) or "nothing was noticed"


def test_two_bare_runs_are_equal(breached: dict[str, dict[str, Outcome]]) -> None:
    pairs = {(group, name) for group, name, _ in CAUGHT_BY.values()}
    found = [
        line
        for group, name in sorted(pairs)
        for line in differences(name, breached[group]["bare"], breached[group]["bare again"])
    ]
    assert not found, shown(found)
