"""Aliases that PyTorch's own code makes and drops within one call: nobody else ever has them, so they are nothing to tell.

A DataLoader's default collate turns each sample of a batch into a tensor that shares, and stacks these into one that does not.
"""

from __future__ import annotations

import importlib
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from ..current import Tensor

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
        if table is _collate.default_collate_fn_map and table[Tensor] is _collate.collate_tensor_fn:
            here.temporaries = BETWEEN
            return True
    except Exception:
        return False
    return False
