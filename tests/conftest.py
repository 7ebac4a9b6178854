"""For all tests: neither a developer's variables nor coverage reach the programs that tests start.

Coverage holds ``sys.settrace`` on Python 3.11, which exact lines need. A test that wants its child measured starts it
with the environment ``measured``.
"""

from __future__ import annotations

import os

import pytest

_MEASURING: dict[str, str] = {}

for _name in [name for name in os.environ if name.startswith("TENSORWATCH_GUARD")]:
    del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    """Where tests run (not where xdist only hands them out), take coverage's variables out of the environment."""
    hands_out = config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ
    if not hands_out:
        names = [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]
        _MEASURING.update({name: os.environ.pop(name) for name in names})
        if names:
            _MEASURING["COVERAGE_HOME"] = str(config.rootpath)


@pytest.fixture(scope="session")
def measured() -> dict[str, str]:
    """An environment for a child: this one, one thread, and coverage if that is what is going on."""
    return {**os.environ, **_MEASURING, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session", autouse=True)
def backward_runs_on_the_calling_thread() -> None:
    """PyTorch counts devices at a process's first backward: whether a simulated one was there by then, and so whether its
    backward runs in another thread, with another share of the processors and other last digits, must not hang on which test
    of this process came first.
    """
    import torch

    torch.ones(1, requires_grad=True).sum().backward()
