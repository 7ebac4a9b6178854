"""The pytest plugin: ``--tensorwatch``, the marker, the fixture. What it does is imported when it is first asked for.

Loaded in every pytest run of an environment that has this package, so it imports nothing but pytest and costs one look
at each test's markers. ``-p no:tensorwatch_guard`` switches it off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from .pytest_support import Watch
    from .pytest_support.watcher import Watcher

OPTIONS: Final = (
    "sync", "transfer", "h2d", "d2h", "d2d", "alias", "mutation", "hazard", "refusal", "read",
    "writes", "ops", "after", "census", "follow_children",
)  # fmt: skip
"""Options of a guard that have an ini setting ``tensorwatch_<option>``, and that the marker and the fixture take."""

_WATCH: Final = pytest.StashKey["Watch"]()

_MARKER: Final = (
    'tensorwatch(level="log", **options): guard this test; options as for guard(): sync=0, alias="error", '
    'd2h=limit(1, per="step"), writes="exact", after=3, ... A level or limit that is broken fails the test.'
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Flags and ini settings."""
    group = parser.getgroup("tensorwatch_guard", "tensorwatch_guard: waits, copies and shared memory in tests")
    group.addoption(
        "--tensorwatch",
        metavar="LEVEL",
        nargs="?",
        const="",
        default=None,
        help="guard every test; with --tensorwatch=error, tests fail that wait, copy, or write into shared memory",
    )
    group.addoption("--tensorwatch-report", metavar="DIR", help="write a report file a test, and all of them as one")
    group.addoption("--tensorwatch-baseline", metavar="FILE", help="what is in this file passes; new or more fails")
    group.addoption(
        "--tensorwatch-update-baseline", action="store_true", help="write the baseline anew from what these tests find"
    )
    parser.addini("tensorwatch", "guard every test at this level: off (default), log, warn, error")
    parser.addini("tensorwatch_report", "as --tensorwatch-report")
    parser.addini("tensorwatch_baseline", "as --tensorwatch-baseline")
    for name in OPTIONS:
        parser.addini(f"tensorwatch_{name}", f"default of the option {name} in guarded tests")


def pytest_configure(config: pytest.Config) -> None:
    """Bad values are told before anything runs."""
    config.addinivalue_line("markers", _MARKER)
    names = ("tensorwatch_report", "tensorwatch_baseline", "tensorwatch_update_baseline")
    if config.getoption("tensorwatch") is not None or config.getini("tensorwatch") or any(map(config.getoption, names)):
        _watch(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Markers that cannot be meant are told before the first test runs."""
    marked = [item for item in items if item.get_closest_marker("tensorwatch") is not None]
    if marked:
        _watch(config).check_markers(marked)


def _watch(config: pytest.Config) -> Watch:
    """What does the work, registered as a plugin of its own when somebody first asks for it."""
    watch = config.stash.get(_WATCH, None)
    if watch is None:
        from .pytest_support import Watch

        watch = config.stash[_WATCH] = Watch(config)
        config.pluginmanager.register(watch, "tensorwatch_guard_watch")
    return watch


@pytest.fixture
def tensorwatch(request: pytest.FixtureRequest) -> Watcher:
    """Guards for parts of a test, and questions to them: see docs/guard-your-tests.md."""
    return _watch(request.config).watcher(request.node)
