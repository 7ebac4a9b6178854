"""Probes that doze while they have nothing to do: PyTorch's own function is what is called then.

Around a backward there is something to look at only once memory is shared or may be written past its counter, or an accelerator
runs backwards in threads of its own. Until then even a probe that does nothing would be a hundredth of a small model's step.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from ..session import SESSION
from .probe import Called

DOZES: Final = ("backward", "grad")


class Dozing:
    """The probes around ``torch.autograd``'s functions. ``lay`` and ``lift`` as theirs: they are in place by then."""

    def __init__(self) -> None:
        self._asleep: list[tuple[Any, Any]] = []

    def lay(self) -> None:
        """Have them doze, if nothing is to be looked at yet."""
        session = SESSION
        if session.sharing or session.past_counter or session.devices:
            return
        for name in DOZES:
            probe: Any = vars(torch.autograd).get(name)
            kind = type(probe)
            if isinstance(probe, Called):
                self._asleep.append((kind, vars(kind)["__call__"]))
                kind.__call__ = staticmethod(probe.__wrapped__)
        session.rouse = self.lift

    def lift(self) -> None:
        """From now on each call is seen."""
        asleep, self._asleep = self._asleep, []  # two threads may share their first memory at once
        for kind, call in asleep:
            kind.__call__ = call


DOZING: Final = Dozing()
