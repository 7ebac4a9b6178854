"""What an optimizer reads of its own step counts, one read a parameter: counted, and told as one kind of read a step.

A watched ``item`` costs such a step of a small model a tenth of its time. So the one function of PyTorch's through which
optimizers read asks for another attribute while a guard is open: the same code with one name changed.

Even that counting is a tenth of the guard's whole cost in reinforcement learning. An optimizer that has read as often in each
of its last steps is taken to read as often in most of the next ones, in which PyTorch's own method stands there.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import Any, Final

import torch

from ..current import LOCAL, Here, Tensor, function_mode_on
from ..session import SESSION
from ..steps import Stepping
from .other_names import asking

READS: Final = "item"
COUNTED: Final = "_tensorwatch_item"
PASSED: Final = "_tensorwatch_passed_item"
ENOUGH: Final = 32
"""So many steps in a row that read as often,"""
BETWEEN: Final = 63
"""and of so many the reads are known; those of the next are counted."""


def _counted(self: Any) -> Any:
    """``item`` of an optimizer's step count; of all else the one that is watched."""
    here = LOCAL.here
    if type(self) is not Tensor or not here.stepping or not SESSION.short_reads or not self.is_cpu or function_mode_on():
        return self.item()
    here.step_reads += 1
    return _item(self)


_item: Final = torch._C.TensorBase.item
CODE: Final = _counted.__code__


class StepReads:
    """The other attribute in its place. ``lay`` and ``lift`` as the probes'."""

    def __init__(self) -> None:
        self._function: FunctionType | None = None
        self._before: CodeType | None = None
        self._counting: CodeType | None = None
        self._passing: CodeType | None = None
        self._probe: Any = None
        self._home: Here | None = None
        """The thread whose optimizers step: of several at once it cannot be said which one's reads were not counted."""
        self._alone = True

    def lay(self) -> None:
        """Nothing happens where PyTorch reads in another way: then each read is watched by itself."""
        function = _reader()
        if function is None or READS not in function.__code__.co_names or self._function is not None:
            return
        self._probe = vars(Tensor).get(READS)
        if getattr(self._probe, "__wrapped__", None) is not _item:
            return  # somebody has put a method of his own there, and is to be asked
        before = function.__code__
        setattr(Tensor, COUNTED, _counted)
        setattr(Tensor, PASSED, _item)
        self._function, self._before = function, before
        self._counting, self._passing = asking(before, READS, COUNTED), asking(before, READS, PASSED)
        self._home, self._alone = None, True
        function.__code__ = self._counting

    def lift(self) -> None:
        """Leave what was there, unless somebody has changed it meanwhile."""
        if self._function is not None and self._before is not None and self._is_ours(self._function):
            self._function.__code__ = self._before
        for name in (COUNTED, PASSED):
            if name in vars(Tensor):
                delattr(Tensor, name)
        self._function = self._before = self._counting = self._passing = self._probe = None

    def begin(self, here: Here, stepping: Stepping) -> None:
        """A step begins in this thread: its reads are counted, or known beforehand."""
        function = self._function
        if function is None:
            return
        if self._home is not here:
            self._alone, self._home = self._home is None, here
        session = SESSION
        is_on_top = vars(Tensor).get(READS) is self._probe  # else somebody has put his own there
        stepping.teaches = is_on_top and not function_mode_on()
        known = stepping.left > 0 and self._alone and session.short_reads and not session.devices
        stepping.known = known and stepping.teaches
        code = (self._passing if stepping.known else self._counting) if is_on_top else self._before
        if code is not None and function.__code__ is not code and self._is_ours(function):
            function.__code__ = code

    def end(self, here: Here, stepping: Stepping) -> None:
        """The step is over: ``here.step_reads`` says how often it has read."""
        begun, here.stepping = here.stepping, False
        if not begun:  # it coasted when it began, and was disturbed
            here.step_reads = max(stepping.reads, 0)
        elif not stepping.teaches:  # its reads were counted one by one, if at all
            stepping.reads, stepping.alike, stepping.left = -1, 0, 0
        elif stepping.known:
            stepping.left -= 1
            here.step_reads = stepping.reads
        elif here.step_reads == stepping.reads:
            stepping.alike += 1
            if stepping.alike >= ENOUGH:
                stepping.left = BETWEEN
        else:
            stepping.reads, stepping.alike, stepping.left = here.step_reads, 0, 0

    def passes(self) -> bool:
        """Whether a step that begins now may read uncounted: nobody has changed anything since the last one did."""
        function = self._function
        return (
            function is not None
            and function.__code__ is self._passing
            and vars(Tensor).get(READS) is self._probe
            and not function_mode_on()
        )

    def _is_ours(self, function: FunctionType) -> bool:
        return function.__code__ is self._counting or function.__code__ is self._passing


STEP_READS: Final = StepReads()


def _reader() -> FunctionType | None:
    module = sys.modules.get("torch.optim.optimizer")  # no attribute of torch.optim
    function = getattr(module, "_get_value", None)
    return function if isinstance(function, FunctionType) else None
