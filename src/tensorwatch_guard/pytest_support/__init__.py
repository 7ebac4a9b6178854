"""What the pytest plugin does once it is asked: guards around tests, reports that come home, files, a short summary."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from ..levels import ConfigError
from ..options import is_killed
from ..policy.baseline import KINDS, Baseline, BaselineError, load, save
from ..policy.violation import GuardViolation
from ..sites import HORIZONS
from .settings import defaults, is_off, level_for_all, marked

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from ..guard import guard
    from ..options import Config
    from ..words import Finding
    from .gathered import Gathering
    from .watcher import Watcher

MOST_SHOWN: Final = 10
_GUARD: Final = pytest.StashKey["guard"]()
_LATE: Final = pytest.StashKey[bool]()
_NAME_LENGTH: Final = 80


def _is_narrowed(config: pytest.Config) -> bool:
    """Whether only some of the tests were asked for: folders, files, single tests, what failed last, until one fails."""
    options = ("maxfail", "ignore", "ignore_glob", "lf", "stepwise")
    if any(config.getoption(name, None) for name in options) or any("::" in one for one in config.args):
        return True
    asked = {Path(config.invocation_params.dir, one).resolve() for one in config.args}
    whole = [Path(config.rootpath, one).resolve() for one in config.getini("testpaths")] or [config.rootpath.resolve()]
    return not all(any(one == folder or one in folder.parents for one in asked) for folder in whole)


class Watch:
    """One for a pytest run, registered as a plugin when a flag, an ini setting, a marker or the fixture asks for it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_worker = hasattr(config, "workerinput")
        self._by_marker: dict[str, Config | None] = {}
        self._partial = False
        self._lingers = False
        self._gathering: Gathering | None = None
        self._killed = is_killed(os.environ)
        try:
            self._defaults = defaults(config)
            self._for_all = level_for_all(config, self._defaults)
            self._folder = self._path("tensorwatch_report")
            self._baseline_path = self._path("tensorwatch_baseline")
            self._updates = bool(config.getoption("tensorwatch_update_baseline"))
            self._baseline = self._load()
            self._check_files()
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None

    def _path(self, name: str) -> Path | None:
        """A path of the flag is relative to where pytest was started, one of an ini file to that file."""
        flag = self._config.getoption(name)
        if flag:
            return self._config.invocation_params.dir / str(flag)
        ini = str(self._config.getini(name) or "").strip()
        return (self._config.inipath.parent if self._config.inipath else self._config.rootpath) / ini if ini else None

    def _load(self) -> Baseline | None:
        if self._updates and self._baseline_path is None:
            raise ConfigError("--tensorwatch-update-baseline: name the file with --tensorwatch-baseline FILE")
        if self._baseline_path is None or self._updates:
            return None
        return load(self._baseline_path, "test")

    def _check_files(self) -> None:
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"--tensorwatch-report {self._folder}: {error.strerror or error}") from None
        files = self._folder is not None or self._baseline_path is not None
        if files and self._for_all is None:
            self._for_all = self._defaults  # a report or a baseline is of all tests

    # -- which tests, and how ------------------------------------------------------------------------------------------

    def check_markers(self, items: Sequence[pytest.Item]) -> None:
        """Each marker is read once, before the first test runs.

        Raises:
            UsageError: naming the test, for a marker that cannot be meant.
        """
        for item in items:
            try:
                self._by_marker[item.nodeid] = marked(item, self._for_all or self._defaults)
            except ConfigError as error:
                raise pytest.UsageError(str(error)) from None

    def _config_of(self, item: pytest.Item) -> Config | None:
        found = self._by_marker.get(item.nodeid, self._for_all)
        return None if self._killed or found is None or is_off(found) else found

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What cannot be collected is not run."""
        self._partial = self._partial or report.failed

    @pytest.hookimpl
    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Then this run says nothing of the rest of the baseline."""
        self._partial = self._partial or bool(items)

    # -- around a test -------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """The guard around a test's own code; its fixtures are set up already."""
        config = self._config_of(item)
        if config is None:
            return (yield)
        with self._guarded(item, config):
            return (yield)

    @contextmanager
    def _guarded(self, item: pytest.Item, config: Config) -> Iterator[None]:
        __tracebackhide__ = True
        opened = item.stash[_GUARD] = self._new_guard(config)
        late = True
        try:
            with opened:
                try:
                    yield
                except BaseException:
                    late = False
                    raise
        except GuardViolation:
            item.stash[_LATE] = late
            raise

    def _new_guard(self, config: Config) -> guard:
        import torch  # noqa: F401 - ahead of our own rooms, see ``environment.when_loaded``

        from ..guard import guard
        from ..running import RUNNING

        runs_tests = getattr(sys.modules.get("_pytest.runner"), "pytest_runtest_call", None)
        if runs_tests is not None:
            HORIZONS.add(id(runs_tests.__code__))
        if not self._lingers and self._for_all is not None:
            self._lingers = True
            RUNNING.linger(on=True)
        made = guard.from_config(config)
        made.brief = self._folder is None
        self._prepare(made)
        return made

    def _prepare(self, made: guard) -> None:
        """The run's baseline holds for each guard in it; while one is made, nothing is raised."""
        made.baseline, made.records = self._baseline, self._updates

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """What was seen goes with the test's report, so that it comes home from xdist's workers."""
        report = yield
        if call.when == "call":
            broken = call.excinfo.value if call.excinfo is not None else None
            opened = item.stash.get(_GUARD, None)
            if isinstance(broken, GuardViolation) and report.failed:
                vars(report)["tensorwatch_violation"] = True
                if item.stash.get(_LATE, False):
                    report.longrepr = str(broken)  # raised by the guard's own exit: no line of the test is to blame
            if opened is not None:
                self._add(report, item, opened, broken)
                del item.stash[_GUARD]
        return report

    def _add(self, report: pytest.TestReport, item: pytest.Item, opened: guard, broken: BaseException | None) -> None:
        from ..policy.stale import used_allowances
        from .gathered import parcel

        seen = opened.report
        told = {finding.id for finding in getattr(broken, "findings", ())}
        worth = [one for one in seen.findings if opened.bites(one) and one.allowed is None]
        if report.failed and (rest := [finding for finding in worth if finding.id not in told]):
            report.sections.append(("tensorwatch_guard: also seen in this test", self._listed(rest)))
        kept = [one for one in seen.findings if one.allowed is None and (one in worth or one.kind in KINDS)]
        if self._for_all is not None:
            data = vars(report)["tensorwatch"] = parcel(seen, kept, used_allowances(opened.collector))
            if self._folder is not None and seen.findings:
                data["file"] = _file_name(item.nodeid)
                seen.dump(self._folder / data["file"])

    def _listed(self, findings: Sequence[Finding]) -> str:
        from ..places import whereabouts
        from ..policy.message import line_text

        verbose = self._config.get_verbosity() > 0
        shown = findings if verbose else findings[:MOST_SHOWN]
        lines = [f"{whereabouts(one)}: {line_text(one)}" for one in shown]
        more = len(findings) - len(shown)
        return "\n".join(lines + ([f"... and {more} more (-v shows all)"] if more else []))

    def watcher(self, item: pytest.Item) -> Watcher:
        """What the fixture gives."""
        import torch  # noqa: F401

        from .watcher import Watcher

        return Watcher(self._defaults, lambda: item.stash.get(_GUARD, None), self._prepare, killed=self._killed)

    # -- the end -------------------------------------------------------------------------------------------------------

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """T for a test that failed because of the guard."""
        if report.when == "call" and report.failed and getattr(report, "tensorwatch_violation", False):
            return "failed", "T", "FAILED (tensorwatch)"
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test's report came home."""
        data = getattr(report, "tensorwatch", None)
        if data is not None and not self._is_worker:
            if self._gathering is None:
                from .gathered import Gathering

                self._gathering = Gathering()
            self._gathering.add(data, report.nodeid)

    def pytest_keyboard_interrupt(self) -> None:
        """The rest of the tests does not run."""
        self._partial = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Restore everything. The files are written with the summary."""
        self._partial = self._partial or bool(session.shouldstop or session.shouldfail)
        if self._lingers:
            from ..running import RUNNING

            self._lingers = False
            RUNNING.linger(on=False)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The ten worst findings of the run, and what became of the files."""
        if self._gathering is None or self._is_worker:
            return
        from .summary import summary

        summary(terminalreporter, self._gathering, verbose=self._config.get_verbosity() > 0)
        for line in (*self._compared(), *self._merged()):
            terminalreporter.write_line(line)

    def _compared(self) -> Iterator[str]:
        gathering, path = self._gathering, self._baseline_path
        if gathering is None or path is None:
            return
        partial = self._partial or _is_narrowed(self._config)
        if self._updates:
            try:
                yield update(path, gathering, keep=bool(partial))
            except BaselineError as error:
                yield f"tensorwatch_guard: {error}"
        elif self._baseline is not None and not partial:
            gone = [known for key, known in self._baseline.known.items() if key not in gathering.known]
            yield from (f"gone from {path.name}: {known}" for known in gone[:MOST_SHOWN])
            if gone:
                yield f"{len(gone)} of {path.name} did not happen; --tensorwatch-update-baseline writes it anew"

    def _merged(self) -> Iterator[str]:
        if self._folder is None or self._gathering is None:
            return
        from ..report.merge import merge_files
        from ..report.model import ReportError

        files = [str(self._folder / name) for name in sorted(self._gathering.files)]  # those of older runs are left alone
        if not files:
            return
        try:
            merged, _ = merge_files(files)
            merged.dump(self._folder / "all-tests.json")
        except ReportError as error:
            yield f"tensorwatch_guard: {error}"
        else:
            yield f"reports of {len(files)} tests in {self._folder}, together in all-tests.json"


def update(path: Path, gathering: Gathering, *, keep: bool) -> str:
    """Write the baseline anew; ``keep``: what these tests did not meet stays. Returns a line that says so.

    Raises:
        BaselineError: if it cannot be written.
    """
    known = gathering.known
    old = load(path, "test").known if path.exists() and keep else {}
    kept = {key: one for key, one in old.items() if key not in known}
    save((*known.values(), *kept.values()), path, "test")
    left = f", {len(kept)} of them kept from before: not all tests ran" if kept else ""
    return f"{path.name} holds {len(known) + len(kept)} findings that pass from now on{left}"


def _file_name(nodeid: str) -> str:
    """A file name that says which test it is of, and is no other test's."""
    plain = re.sub(r"[^\w.-]+", "-", nodeid).strip("-")[-_NAME_LENGTH:]
    return f"test-{plain}-{blake2b(nodeid.encode(), digest_size=4).hexdigest()}.json"
