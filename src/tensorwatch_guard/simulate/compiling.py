"""Keeps torch.compile out of the simulator: Dynamo looks at every Python frame, and on a GPU there are none of these.

The C side of Dynamo comes with torch itself, so code can be marked although ``torch._dynamo`` is not imported.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOMS = (f"{__package__}.", f"{(__package__ or '').rpartition('.')[0]}.operations")


@lru_cache(maxsize=1)
def hide() -> None:
    """Mark all code of this room and of the operations table, once: skipped, with whatever it calls."""
    try:
        frames: Any = torch._C._dynamo.eval_frame
        skip = frames._FrameExecStrategy(frames._FrameAction.SKIP, frames._FrameAction.SKIP)
        mark = frames.set_code_exec_strategy
    except (AttributeError, TypeError):
        return  # a compiled function then breaks at each operation, and computes the same
    for name, module in list(sys.modules.items()):
        if name.startswith(_ROOMS):
            for code in _codes(module):
                mark(code, skip)


def _codes(module: ModuleType) -> Iterator[CodeType]:
    for value in vars(module).values():
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                yield from _nested(function.__code__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
