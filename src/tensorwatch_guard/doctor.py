"""``tensorwatch-guard doctor``: what is installed, what can run here and why not, and what is patched right now.

In a program, ``print(tensorwatch_guard.doctor.examine())`` looks at that very process. Looking starts nothing and
patches nothing; it imports torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import site
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal

from . import __version__
from .levels import ConfigError
from .options import KILL_SWITCH, VARIABLE, Config, is_killed, is_on, pyproject_near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

State = Literal["yes", "no", "wrong", ""]

NEEDED: Final = {"torch": (2, 9), "numpy": (), "wrapt": (2, 4), "xxhash": ()}
"""Distribution to the oldest version that will do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One fact. ``wrong`` is something to mend; ``no`` only means that this machine cannot do it."""

    state: State
    name: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Facts of one sort."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found; as text, for the terminal."""

    sections: tuple[Section, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing has to be mended."""
        return all(line.state != "wrong" for section in self.sections for line in section.lines)

    def __str__(self) -> str:
        parts = [f"tensorwatch_guard {__version__}: {'sound' if self.sound else 'something is wrong, see below'}"]
        for section in self.sections:
            width = max((len(line.name) for line in section.lines), default=0)
            parts += ["", section.title]
            parts += [f"  {line.state:<5} {line.name:<{width}}  {line.text}".rstrip() for line in section.lines]
        return "\n".join(parts)


def examine() -> Examination:
    """Look at this process and this machine. Never raises: what cannot be looked at says why."""
    looks: tuple[tuple[str, Callable[[], Iterable[Line]]], ...] = (
        ("installed", _installed),
        ("activation without a code change", _activation),
        ("layers", _layers),
        ("later writes", _writes),
        ("private names of PyTorch and Python", _private),
        ("patched right now, in this process", _patched),
    )
    return Examination(tuple(Section(title, _safely(look)) for title, look in looks))


def _safely(look: Callable[[], Iterable[Line]]) -> tuple[Line, ...]:
    lines: list[Line] = []
    try:
        lines.extend(look())
    except Exception as error:
        lines.append(Line("wrong", "could not be examined", repr(error)))
    return tuple(lines)


def _installed() -> Iterable[Line]:
    yield Line("yes", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, oldest in NEEDED.items():
        yield _version(name, oldest)
    if not getattr(importlib.import_module("wrapt.__wrapt__"), "_using_c_extension", True):
        yield Line("no", "wrapt's C extension", "each watched call costs some microseconds more without it")


def _version(name: str, oldest: tuple[int, ...]) -> Line:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Line("wrong", name, f"not installed; pip install {name}")
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        return Line("wrong", name, f"{found} is too old; pip install '{name}>={wanted}'")
    return Line("yes", name, found)


def _activation() -> Iterable[Line]:
    directories = [*site.getsitepackages(), site.getusersitepackages()]
    lines = [os.path.join(directory, "tensorwatch_guard.pth") for directory in directories]
    there = [path for path in lines if os.path.exists(path)]
    if there:
        yield Line("yes", "activation line", there[0])
    else:
        yield Line("no", "activation line", f"not installed, so {VARIABLE}=1 does nothing; pip install the package")
    if is_killed(os.environ):
        yield Line("no", KILL_SWITCH, "is set: every guard is off")
    yield Line("yes" if is_on(os.environ) else "no", VARIABLE, os.environ.get(VARIABLE, "not set"))
    try:
        Config.from_environment(os.environ)
        path = pyproject_near(os.curdir)
        if path is not None:
            named = ", ".join(sorted(Config.from_pyproject(path).named))
            yield Line("yes", "pyproject", f"{path} names {named}")
    except ConfigError as error:
        yield Line("wrong", "configuration", str(error))


def _layers() -> Iterable[Line]:
    import torch

    from .operations import WATCHED
    from .probes.trace import backends

    names = sum(len(row.targets) for row in WATCHED)
    yield Line("yes", "calls", f"{names} functions and methods of PyTorch are watched while a guard is open")
    traced = backends()
    yield Line("yes" if traced else "no", "trace", ", ".join(traced) or "needs a CUDA or XPU device; there is none")
    if importlib.util.find_spec(f"{__package__}.probes.ops") is not None:
        yield Line("yes", "ops", "when asked for: guard(ops=True), run --ops")
    else:
        yield Line("no", "ops", "not in this version")
    yield Line("yes" if sys.platform != "win32" else "no", "simulated accelerator", "run --simulate cuda")
    if torch.cuda.is_available():
        yield Line("yes", "device", torch.cuda.get_device_name())


def _writes() -> Iterable[Line]:
    yield Line("yes", "check", "contents compared at boundaries: finds writes, as an interval between two moments")
    if sys.version_info >= (3, 12):
        yield Line("yes", "lines", "by sys.monitoring, beside coverage and debuggers")
    elif sys.gettrace() is None:
        yield Line("yes", "lines", "by sys.settrace; steps aside for a debugger or coverage")
    else:
        yield Line("no", "lines", f"sys.settrace is taken by {sys.gettrace()!r}")
    try:
        from .sharing.pages import road
    except ImportError as error:
        yield Line("no", "pages", f"{error}")
        return
    is_open, why = road()
    yield Line("yes" if is_open else "no", "pages", "by userfaultfd, also inside C code" if is_open else why)


def _private() -> Iterable[Line]:
    from .private_api import PRIVATE

    for row in PRIVATE:
        since = f", since {row.since}" if row.since else ""
        if row.present():
            yield Line("yes", row.name, f"{row.used_by}{since}")
        else:
            yield Line("no", row.name, f"{row.used_by}: {row.fallback}{since}")


def _patched() -> Iterable[Line]:
    running = sys.modules.get(f"{__package__}.running")
    names: list[str] = running.RUNNING.patched if running is not None else []
    for name in names:
        yield Line("yes", name, "watched: a guard is open")
    left = [] if names else _wrapped_names()
    for name, ours in left:
        what = "left behind by a guard; please report it" if ours else "wrapped by somebody else"
        yield Line("wrong" if ours else "", name, what)
    if not names and not left:
        yield Line("yes", "nothing", "torch and torch.Tensor are as they were made")


def _wrapped_names() -> list[tuple[str, bool]]:
    import torch
    import wrapt

    from .probes.probe import Probe

    found: list[tuple[str, bool]] = []
    owners: dict[str, Any] = {"torch": torch, "torch.Tensor": torch.Tensor, "torch.nn.Module": torch.nn.Module}
    for owner, held in owners.items():
        for name, value in vars(held).items():
            kind = type(value)  # not isinstance: a proxy answers for what it wraps
            if issubclass(kind, wrapt.ObjectProxy | wrapt.FunctionWrapper):
                found.append((f"{owner}.{name}", issubclass(kind, Probe)))
    return found
