"""The guard of a whole process: asked for by the variable or by ``run``, started with torch, reporting at the end.

Nothing here raises into the program: what goes wrong is one line on stderr, and the program runs unguarded.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from . import ranks
from .levels import ConfigError
from .options import Config, is_on, pyproject_near

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .guard import guard
    from .report.model import Report


FAMILY: Final = "_TENSORWATCH_GUARD_FAMILY"
"""What a guarded process tells its children; read in ``processes.family``, which is loaded only where it is there."""


class ProcessGuard:
    """The one guard of a process. ``armed`` while it waits for torch, ``report`` once it has finished."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._guard: guard | None = None
        self._open = ExitStack()
        self._pid = os.getpid()
        self.report: Report | None = None
        self.failed = False
        """The guard itself could not do its work."""
        self.violated = False
        """A level or a limit was broken, whether that stopped the program or not."""

    def wait_for_torch(self) -> None:
        """Start as soon as torch has been imported; at once if it was."""
        import wrapt

        wrapt.register_post_import_hook(lambda _: when_loaded(self._start), "torch")

    def _start(self) -> None:
        try:
            if self._config.simulate is not None:
                from .simulate import simulated_accelerator

                self._open.enter_context(simulated_accelerator(self._config.simulate))
            from .guard import guard

            self._guard = guard.from_config(self._config, process_report=not _is_spawned())
            self._guard.start()
        except Exception as error:
            self._guard = None
            self._fail("could not start, the program runs unguarded", error)

    def finish(self) -> None:
        """Stop, print and write the report. Once: later calls, and calls in a forked child, do nothing."""
        done, self._guard = self._guard, None
        if done is None or os.getpid() != self._pid:
            return
        from .policy.message import brief

        error = _died_of()
        try:
            done.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except Exception as raised:
            if is_violation(raised):
                say(brief(getattr(raised, "findings", ()), getattr(raised, "reasons", ())))
            else:
                self._fail("could not report", raised)
        finally:
            self._open.close()
            if isinstance(error, KeyboardInterrupt):
                _ended_by_ctrl_c()
        if not self.failed:
            self.report = done.report
            self.violated = done.violation is not None

    def _fail(self, what: str, error: Exception) -> None:
        self.failed = True
        text = str(error) if isinstance(error, ConfigError) else repr(error)
        say(f"the guard {what}: {text}")


def arm() -> None:
    """Torch is about to be imported: if the variable asks for it, start a guard after it and report at exit."""
    if _claimed or not is_on(os.environ):
        return
    if os.environ.get(FAMILY):
        _follow()
        return
    try:
        config = config_of_process(os.environ)
        config.check_files()
    except ConfigError as error:
        say(f"{error}\ntensorwatch_guard: the program runs unguarded")
        return
    process = ProcessGuard(config)
    atexit.register(process.finish)
    process.wait_for_torch()


def _follow() -> None:
    """A guarded process has started this one: it collects what is seen here, and judges it."""
    import wrapt

    from .processes.family import inherited, is_multiprocessing_child, quiet

    global _armed
    family = inherited(os.environ)
    if family is None or _armed:
        return  # that guard is over
    _armed = True
    config = quiet(family.settings)
    if family.user_switched_on and not is_multiprocessing_child():
        own = config_of_process(os.environ)
        config = replace(own, report=False, follow_children=False, json=_of_its_own(own.json))

    def start() -> None:
        try:
            from .processes.household import HOUSEHOLD

            HOUSEHOLD.join(family, config)
        except Exception as error:
            say(f"process {os.getpid()} is not followed: {error!r}")

    wrapt.register_post_import_hook(lambda _: when_loaded(start), "torch")


def when_loaded(start: Callable[[], None]) -> None:
    """Start now, or with the next import, if it is a room of this package that has asked for torch: half of it is there."""
    if _is_half_loaded():
        sys.meta_path.insert(0, _Later(start))
    else:
        start()


def _is_half_loaded() -> bool:
    rooms = [room for name, room in list(sys.modules.items()) if name.startswith(f"{__package__}.")]
    return any(getattr(getattr(room, "__spec__", None), "_initializing", False) for room in rooms)


class _Later:
    """A finder that finds nothing."""

    def __init__(self, start: Callable[[], None]) -> None:
        self._start = start

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] == __package__ or _is_half_loaded():
            return
        try:
            sys.meta_path.remove(self)
        except ValueError:  # another thread has imported something, too, and starts it
            return
        self._start()


def _of_its_own(path: str | None) -> str | None:
    """A report file that each process, or each rank, has for itself."""
    if path is None or ("%p" not in path and not ("%r" in path and ranks.rank() is not None)):
        return None
    return path


def claim() -> None:
    """``run`` guards this process itself: the variable must not start a second guard in it."""
    global _claimed
    _claimed = True


def config_of_process(environ: Mapping[str, str], arguments: Mapping[str, object] | None = None) -> Config:
    """The config of a process: pyproject, the environment on top of it, the command line on top of both.

    Raises:
        ConfigError: for the first thing in any of them that cannot be meant.
    """
    config = Config()
    if path := _pyproject():
        config = config.merged(Config.from_pyproject(path))
    return config.merged(Config.from_environment(environ)).merged(Config.from_cli(arguments or {}))


def is_violation(error: BaseException) -> bool:
    """Whether ``error`` is how a guard says that a level or a limit was broken."""
    return isinstance(error, AssertionError) and type(error).__module__.partition(".")[0] == __package__


def say(text: str) -> None:
    """One message to the user, on stderr, whatever state that is in."""
    try:
        if sys.stderr is not None:  # none under pythonw: ``print`` would take standard output
            print(f"tensorwatch_guard: {text}", file=sys.stderr, flush=True)  # noqa: T201
    except (OSError, ValueError, AttributeError):  # closed or full
        return


def _pyproject() -> str | None:
    try:
        here = os.getcwd()
    except OSError:  # the directory is gone
        return None
    return pyproject_near(here)


def _died_of() -> BaseException | None:
    """The exception whose traceback ended this program; in an interactive one there is none."""
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None
    return getattr(sys, "last_value", None)


def _ended_by_ctrl_c() -> None:
    """Python ends by SIGINT then, unless text was run as code since: dataclasses do that when they are imported at exit."""
    try:
        exec("raise KeyboardInterrupt")  # noqa: S102
    except KeyboardInterrupt:
        return


def _is_spawned() -> bool:
    return "--multiprocessing-fork" in getattr(sys, "orig_argv", ())


_armed: bool = False
_claimed: bool = False
