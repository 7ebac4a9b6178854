"""What an optimizer reads of its own step counts, one read a parameter: counted, and told as one kind of read a step.

A watched ``item`` costs such a step of a small model a tenth of its time. So the one function of PyTorch's through which
optimizers read asks for another attribute while a guard is open: the same code with one name changed.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import Any, Final

import torch

from ..current import LOCAL, Tensor, function_mode_on
from ..session import SESSION

READS: Final = "item"
COUNTED: Final = "_tensorwatch_item"


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
        self._ours: CodeType | None = None

    def lay(self) -> None:
        """Nothing happens where PyTorch reads in another way: then each read is watched by itself."""
        function = _reader()
        if function is None or READS not in function.__code__.co_names or self._function is not None:
            return
        before = function.__code__
        names = tuple(COUNTED if name == READS else name for name in before.co_names)
        setattr(Tensor, COUNTED, _counted)
        self._function, self._before, self._ours = function, before, before.replace(co_names=names)
        function.__code__ = self._ours

    def lift(self) -> None:
        """Leave what was there, unless somebody has changed it meanwhile."""
        if self._function is not None and self._before is not None and self._function.__code__ is self._ours:
            self._function.__code__ = self._before
        if COUNTED in vars(Tensor):
            delattr(Tensor, COUNTED)
        self._function = self._before = self._ours = None


def _reader() -> FunctionType | None:
    module = sys.modules.get("torch.optim.optimizer")  # no attribute of torch.optim
    function = getattr(module, "_get_value", None)
    return function if isinstance(function, FunctionType) else None
