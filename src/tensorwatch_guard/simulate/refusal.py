"""How the simulator says no: before it starts, and when a program meets something that it cannot do."""

from __future__ import annotations

import sys

from tensorwatch_guard.expressions import site_of
from tensorwatch_guard.sites import trail


class SimulatorUnavailableError(RuntimeError):
    """The accelerator cannot be simulated in this process; nothing was changed."""


class CannotSimulateError(NotImplementedError):
    """A program met something that a real device does and the simulated one does not."""


def cannot(what: str, instead: str = "") -> CannotSimulateError:
    """The error that names the operation and the user's line, to be raised by the caller."""
    seen = trail(sys._getframe(1))
    where = ""
    if seen.code is not None:
        site = site_of(seen.code, seen.lasti)
        where = f' (File "{site.file}", line {site.line}, in {site.function})'
    text = f"the simulated accelerator cannot do {what}{where}"
    return CannotSimulateError(f"{text}: {instead}" if instead else text)
