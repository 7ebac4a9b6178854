"""Training under the guard computes bit for bit what it computes without: programs run both ways and are held equal.

Each group of programs runs once bare and once in every mode, in processes of its own. What is compared stands in
`parity.record` (values, versions, exceptions) and `parity.child` (warnings, states left behind, what was printed).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parity.child import MODES
from parity.expected import IN_MODES, known
from parity.harness import bare_run, differences, run_modes, shown
from parity.programs import GROUPS, programs_of


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of one run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.mark.parametrize(("group", "mode"), [(group, mode) for group, modes in IN_MODES.items() for mode in modes])
def test_the_guard_changes_nothing(folder: Path, group: str, mode: str) -> None:
    bare = bare_run(group, folder)
    outcome = run_modes(group, [mode], cache=folder / "inductor")[mode]
    if outcome.unavailable:
        pytest.skip(outcome.unavailable)
    told = {name: differences(name, bare, outcome) for name in programs_of(group)}
    found = {name: [line for line in lines if not known(mode, line)] for name, lines in told.items()}
    if any(found.values()):
        pytest.fail("\n".join(dict.fromkeys(shown(lines) for lines in found.values() if lines)), pytrace=False)


def test_an_empty_dispatch_mode_has_the_known_differences() -> None:
    outcomes = run_modes("training", ["bare", "swallows_versions"], ["lstm"])
    found = differences("lstm", outcomes["bare"], outcomes["swallows_versions"])
    assert any(known("ops", line) for line in found), shown(found)


def test_every_group_and_every_mode_has_its_turn() -> None:
    assert sorted(IN_MODES) == sorted(GROUPS)
    assert {mode for modes in IN_MODES.values() for mode in modes} == set(MODES)


CAUGHT_BY = {
    "training": {
        "consumes_torch_random": ("adam_foreach", "left: torch rng"),
        "consumes_python_random": ("adam_foreach", "left: python rng"),
        "bumps_versions": ("adam_fused", "model.0.weight/version"),
        "swallows_versions": ("adam_foreach", "model.0.weight/version"),
        "leaves_a_tracer": ("differentiable_step", "left: tracers"),
    },
    "sharing": {
        "removes_in_place_check": ("stale_writes", "fill_: error"),
        "moves_warnings": ("conversions_that_warn", "warnings"),
        "warns": ("random_states", "warnings"),
        "wraps_errors": ("refusals", "numpy: error"),
        "changes_values": ("routes", "taken/numpy"),
    },
    "language": {"breaks_pickling": ("pickling", "from_numpy")},
    "compiling": {"breaks_graphs": ("partial_graphs", "graph breaks")},
}
"""Group -> breach of neutrality -> the program that notices it, and where."""


@pytest.mark.parametrize("group", CAUGHT_BY)
def test_breaches_of_neutrality_are_caught(group: str) -> None:
    breaches = CAUGHT_BY[group]
    programs = {name for name, _ in breaches.values()}
    outcomes = run_modes(group, ["bare", "bare again", *breaches], programs)
    bare = outcomes["bare"]
    assert [line for name in programs for line in differences(name, bare, outcomes["bare again"])] == []
    for breach, (name, where) in breaches.items():
        assert outcomes[breach].failure is None
        found = differences(name, bare, outcomes[breach])
        assert any(where in line for line in found), f"{breach}: {shown(found) or 'nothing was noticed'}"
