"""What the activation line runs at interpreter start: wait until somebody imports torch, and cost nothing until then.

This room imports nothing but ``sys``. A program that never imports torch pays for one look at each import, and sees
nothing of the guard; errors of ours are one line on stderr and never stop a program.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # without paying for typing at interpreter start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def wait_for_torch() -> None:
    """Have the guard of the process started once torch is imported. The line may run twice, as it does in a venv."""
    if _is_fork_server():
        _forget_family()
    else:
        _look_out()


def _look_out() -> None:
    if "torch" not in sys.modules and not any(isinstance(finder, _Lookout) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Lookout())


def begin(environment: dict[str, str]) -> None:
    """A child of ``multiprocessing`` is told to follow; torch may be there already (a fork server's preload)."""
    import os

    os.environ.update(environment)
    if "torch" not in sys.modules:
        _look_out()
        return
    from .environment import arm

    arm()


def _is_fork_server() -> bool:
    """A fork server only makes children, long after its own start: they are told when they are made."""
    words: Sequence[str] = getattr(sys, "orig_argv", ())
    return any("multiprocessing.forkserver" in word for word in words)


def _forget_family() -> None:
    import os

    told = os.environ.pop("_TENSORWATCH_GUARD_FAMILY", None)
    if told is not None:
        import json

        switch = json.loads(told).get("switch")
        if switch is None:
            os.environ.pop("TENSORWATCH_GUARD", None)
        else:
            os.environ["TENSORWATCH_GUARD"] = switch


class _Lookout:
    """A finder that finds nothing: it only notices that torch is asked for, hands over, and is gone."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torch":
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            from .environment import arm

            arm()
        except Exception as error:  # whatever it is, the program wants torch and gets it
            _say(f"the guard could not be prepared: {error!r}")
        from importlib.util import find_spec

        return find_spec(name)  # asked afresh, because the finders were changed while they were being gone through


def _say(text: str) -> None:
    """On stderr, whatever state that is in; ``environment.say`` may be what could not be imported."""
    try:
        if sys.stderr is not None:
            print(f"tensorwatch_guard: {text}", file=sys.stderr)  # noqa: T201
    except (OSError, ValueError):
        return
