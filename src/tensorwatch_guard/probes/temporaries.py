"""Aliases that PyTorch's own code makes and drops within one call: nobody else ever has them, so they are nothing to tell.

A DataLoader's default collate turns each sample of a batch into a tensor that shares, and stacks these into one that does not.
A hundred samples pass through a probe there for each batch. So while a loader with that collate makes a batch the function asks
for another attribute: the same code with one name changed, and PyTorch's own function behind that name.
"""

from __future__ import annotations

import importlib
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Final

import torch

from ..current import Tensor
from .other_names import asking
from .probe import Probe

if TYPE_CHECKING:
    from ..current import Here

try:
    _collate: Any = importlib.import_module("torch.utils.data._utils.collate")
except ImportError:
    _collate = None
_FUNCTION: Final[CodeType | None] = getattr(getattr(_collate, "collate_numpy_array_fn", None), "__code__", None)
_TABLE: Final = "collate_fn_map"
BETWEEN: Final = 31
"""Samples that are passed on what was found at the one before them: to ask costs more than all the rest of such a call."""


def _within(code: CodeType | None) -> CodeType | None:
    """The code that makes them: up to Python 3.11 a comprehension has its own."""
    inner = [one for one in code.co_consts if isinstance(one, CodeType)] if code is not None else []
    return inner[0] if inner else code


MADE_IN: Final = _within(_FUNCTION)
"""The code that makes the tensors of a batch's samples."""


def passes(here: Here, frame: FrameType) -> bool:
    """Whether an alias made in ``MADE_IN``, whose frame this is, ends there: nobody put a collate of his own behind it."""
    if here.temporaries:
        here.temporaries -= 1
        return True
    try:
        function = frame if frame.f_code is _FUNCTION else frame.f_back
        table = function.f_locals.get(_TABLE) if function is not None else None
        if table is _collate.default_collate_fn_map and _is_default():
            here.temporaries = BETWEEN
            return True
    except Exception:
        return False
    return False


MAKES: Final = "as_tensor"
UNWATCHED: Final = "_tensorwatch_as_tensor"


class Unwatched:
    """The other attribute, in its place while such a batch is made. ``lay`` and ``lift`` as the probes'."""

    def __init__(self) -> None:
        self._function: FunctionType | None = None
        self._watched: CodeType | None = None
        self._unwatched: CodeType | None = None
        self._probe: Probe | None = None

    def lay(self) -> None:
        """Nothing happens where PyTorch collates in another way: then each sample passes a probe."""
        function = getattr(_collate, "collate_numpy_array_fn", None)
        if not isinstance(function, FunctionType) or self._function is not None:
            return
        probe, code = vars(torch)[MAKES], asking(function.__code__, MAKES, UNWATCHED)
        if code is function.__code__ or not isinstance(probe, Probe):
            return
        setattr(torch, UNWATCHED, probe.__wrapped__)  # PyTorch's own, or what somebody has put in its place
        self._function, self._watched, self._unwatched, self._probe = function, function.__code__, code, probe

    def lift(self) -> None:
        """Leave what was there."""
        self.end(True)
        self._function = self._watched = self._unwatched = self._probe = None
        if UNWATCHED in vars(torch):
            delattr(torch, UNWATCHED)

    def begin(self, loader: Any) -> bool:
        """A batch is about to be made. Returns what ``end`` wants."""
        function, code = self._function, self._unwatched
        if function is None or code is None or function.__code__ is not self._watched:
            return False
        if vars(torch)[MAKES] is not self._probe:  # somebody has put his own on top
            return False
        if getattr(loader, "_collate_fn", None) is not _collate.default_collate or not _is_default():
            return False
        function.__code__ = code
        return True

    def end(self, begun: bool) -> None:
        """It is made."""
        function, code = self._function, self._watched
        if begun and function is not None and code is not None and function.__code__ is self._unwatched:
            function.__code__ = code


UNWATCHED_BATCHES: Final = Unwatched()


def _is_default() -> bool:
    return _collate.default_collate_fn_map[Tensor] is _collate.collate_tensor_fn
