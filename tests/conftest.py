"""For all tests: neither a developer's variables nor coverage reach the programs that tests start.

Coverage holds ``sys.settrace`` on Python 3.11, which exact lines need. A test that wants its child measured asks for
``measured``, an environment to start it with.
"""

from __future__ import annotations

import os

import pytest

_MEASURING = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COVERAGE_PROCESS")}
for _name in [name for name in os.environ if name.startswith("TENSORWATCH_GUARD")]:
    del os.environ[_name]
if _MEASURING:
    _MEASURING["COVERAGE_HOME"] = os.getcwd()


@pytest.fixture(scope="session")
def measured() -> dict[str, str]:
    """An environment for a child: this one, one thread, and coverage if that is what is going on."""
    return {**os.environ, **_MEASURING, "OMP_NUM_THREADS": "1"}
