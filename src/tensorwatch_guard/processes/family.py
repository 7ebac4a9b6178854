"""What a process tells its children: where to put their parts, for whom, and how to guard.

It travels in one environment variable, and to children of ``multiprocessing`` in the data they are started with,
since a fork server keeps the environment of its own start. Imports neither torch nor NumPy: children read it before
torch is there.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ..levels import LOG, Setting
from ..options import VARIABLE, Config, is_on
from ..words import DIRECTIONS, KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "_TENSORWATCH_GUARD_FAMILY"
_CARRIED: Final = ("writes", "ops", "census", "simulate")
"""Options that children of ``multiprocessing`` get from their parent besides the kinds that are off."""
_OFF: Final = Setting("off")
_BEGIN: Final = """
try:
    from tensorwatch_guard._bootstrap import begin
except ImportError:
    import sys
    sys.path.append({root!r})
    try:
        from tensorwatch_guard._bootstrap import begin
    except ImportError:
        begin = None
if begin is not None:
    begin({environment!r})
"""


@dataclass(frozen=True, slots=True)
class Family:
    """One process with a guard and all processes that follow from it.

    ``line`` are the process ids from the first process down to the one that tells this to its children, ``rank`` is
    the rank of that one, ``switch`` what the user had in ``TENSORWATCH_GUARD``.
    """

    folder: str
    owner: int
    host: str
    asked: bool
    """The folder lies beside a report file that the user asked for."""
    line: tuple[int, ...]
    settings: Mapping[str, Any]
    switch: str | None = None
    rank: int | None = None

    def text(self) -> str:
        """As it travels."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    def environment(self) -> dict[str, str]:
        """The variables that make a Python process follow."""
        on = self.switch if self.switch is not None and is_on({VARIABLE: self.switch}) else "1"
        return {NAME: self.text(), VARIABLE: on}

    def is_over(self) -> bool:
        """Whether nobody will collect parts any more: once made, the folder lives as long as the guard."""
        return not os.path.isdir(self.folder)

    def owner_is_alive(self) -> bool:
        """Whether the process that collects the parts is there; asked on its own machine."""
        return is_alive(self.owner)

    @property
    def user_switched_on(self) -> bool:
        """Whether the user's own environment asks for guards, with levels of its own."""
        return self.switch is not None and is_on({VARIABLE: self.switch})


def inherited(environ: Mapping[str, str]) -> Family | None:
    """What this process's parent told it; None where there is no guarding parent any more."""
    text = environ.get(NAME)
    if not text:
        return None
    try:
        told = json.loads(text)
        family = Family(**{**told, "line": tuple(told["line"])})
    except (ValueError, TypeError, KeyError):  # of another version, or garbled
        return None
    # the first child that was not made by fork or multiprocessing makes the folder
    return family if os.path.isdir(family.folder) or family.owner_is_alive() else None


def settings_of(config: Config) -> dict[str, Any]:
    """What children of ``multiprocessing`` have to know of their parent's options."""
    settings: dict[str, Any] = {name: getattr(config, name) for name in _CARRIED}
    settings["off"] = [name for name in (*KINDS, *DIRECTIONS) if _is_off(config, name)]
    return settings


def quiet(settings: Mapping[str, Any]) -> Config:
    """The options of a child that only counts: levels and limits are judged by the parent, when it has all parts."""
    kinds: dict[str, Any] = {name: _OFF if name in settings.get("off", ()) else LOG for name in (*KINDS, *DIRECTIONS)}
    carried = {name: settings[name] for name in _CARRIED if name in settings}
    config: Config = replace(Config(), report=False, follow_children=False, **kinds, **carried)
    return config


def _is_off(config: Config, name: str) -> bool:
    if name in DIRECTIONS:
        return config.setting("transfer", name).level == "off"
    return config.setting(name).level == "off"  # type: ignore[arg-type]


def starter(family: Family) -> str:
    """A program text that makes a child of ``multiprocessing`` follow; nothing where the package cannot be found."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return _BEGIN.format(root=root, environment=family.environment())


def is_multiprocessing_child() -> bool:
    """Whether ``multiprocessing`` started this process."""
    module = sys.modules.get("multiprocessing.process")
    return "--multiprocessing-fork" in getattr(sys, "orig_argv", ()) or (
        module is not None and module.parent_process() is not None
    )


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, SystemError, ValueError):  # somebody else's, or a system without signals
        return True
    return True


__all__ = ["NAME", "Family", "inherited", "is_multiprocessing_child", "quiet", "settings_of", "starter"]
