"""Keeps torch.compile away from trace functions: Dynamo looks at every Python frame, also at an onlooker's.

The C side of Dynamo comes with torch itself, so codes are marked before ``torch._dynamo`` is imported, and without
importing it: a Dynamo that is imported later finds them marked.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_marked: set[type] = set()


def hide_from_dynamo(owner: type) -> None:
    """Have Dynamo skip all methods of a class, the functions inside them and whatever these call."""
    if owner in _marked or "torch" not in sys.modules:
        return
    _marked.add(owner)
    mark = _marker()
    if mark is not None:
        for code in _codes(owner):
            mark(code)


def _marker() -> Any:
    try:
        frames: Any = sys.modules["torch"]._C._dynamo.eval_frame
        skip = frames._FrameExecStrategy(frames._FrameAction.SKIP, frames._FrameAction.SKIP)
    except (AttributeError, TypeError):
        return getattr(sys.modules.get("torch._dynamo.eval_frame"), "skip_code", None)
    return lambda code: frames.set_code_exec_strategy(code, skip)


def _codes(owner: type) -> Iterator[CodeType]:
    for base in owner.__mro__:
        for value in vars(base).values():
            function = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if isinstance(function, FunctionType):
                yield from _nested(function.__code__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
