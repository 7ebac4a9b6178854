"""Keeps torch.compile away from our own frames.

After a graph break Dynamo looks at every Python frame that runs, also at a probe's and at all it calls: graph breaks and
graphs would be counted that the program does not have. Probes themselves are skipped alone, because what they call is the
user's; everything else of ours is skipped with all it calls.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from functools import _lru_cache_wrapper
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import torch

from ..sites import FILES, OWN, TORCH
from .unseen import WORDS, renamed

_ROOMS: Final = frozenset({
    "collector", "current", "evidence", "expressions", "folding", "hazards", "in_flight", "looks", "memory", "operations",
    "places", "policy", "probes", "routes", "rules", "session", "sharing", "sites", "steps", "telling",
})  # fmt: skip
_OPEN: Final = frozenset({"tensorwatch_guard.policy.allow"})
"""What users decorate functions with: its frames call their code, and Dynamo may look through them."""
_OWN_FILES: Final = frozenset(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{room}.py{words}")
    for words in ("", WORDS)
    for room in (
        "data", "flights", "happen", "mapped_files", "moves", "optimizer_steps", "reads", "refusals", "shares", "short_shares",
        "silent_writes", "spans", "states", "step_reads",
    )
)
_hidden: Final[set[CodeType]] = set()
_done: Final[set[str]] = set()
"""Modules whose codes are hidden: a guard that is entered again has nothing to do here."""
_modules = 0
"""How many modules there were when they were last gone through: tenths of a millisecond at each entering."""


def hide(probes: Iterable[CodeType], open_to_dynamo: Collection[CodeType] = ()) -> None:
    """Have Dynamo skip our code; cheap when called again.

    Args:
        probes: code that calls the user's: skipped alone, its inner functions with all they call.
        open_to_dynamo: code that is not hidden.
    """
    mark = _marker()
    if mark is None:
        return
    outer = {code for code in probes if code not in _hidden}
    inner = {code for probe in outer for code in _nested(probe)} - outer
    for code in (*outer, *inner, *_codes()):
        if code not in _hidden and code not in open_to_dynamo:
            _hidden.add(code)
            mark(code, code not in outer)


def hide_alone(code: CodeType) -> None:
    """Have Dynamo skip one frame, not what it calls."""
    mark = _marker()
    if mark is not None:
        mark(code, False)


def _marker() -> Any:
    """Dynamo's C side comes with torch: codes can be marked before ``torch._dynamo`` is imported, and without importing it."""
    try:
        frames: Any = torch._C._dynamo.eval_frame
        default, skip = frames._FrameAction.DEFAULT, frames._FrameAction.SKIP
        alone, whole = frames._FrameExecStrategy(skip, default), frames._FrameExecStrategy(skip, skip)
    except (AttributeError, TypeError):
        skip_code: Any = getattr(sys.modules.get("torch._dynamo.eval_frame"), "skip_code", None)
        return (lambda code, _: skip_code(code)) if skip_code is not None else None
    return lambda code, with_calls: frames.set_code_exec_strategy(code, whole if with_calls else alone)


def _codes() -> Iterator[CodeType]:
    global _modules
    if len(sys.modules) == _modules:
        return
    _modules = len(sys.modules)
    package = __name__.partition(".")[0]
    for name, module in list(sys.modules.items()):
        if not name.startswith(package) or name in _done or name in _OPEN:
            continue
        _done.add(name)
        top, _, rest = name.partition(".")
        if top == package and rest.split(".")[0] in _ROOMS and isinstance(module, ModuleType):
            for value in list(vars(module).values()):
                yield from _of(value, name)


def _of(value: Any, module: str) -> Iterator[CodeType]:
    value = value.__wrapped__ if isinstance(value, _lru_cache_wrapper) else value
    if isinstance(value, FunctionType):
        if value.__module__ == module:
            yield from _nested(value.__code__)
    elif isinstance(value, type) and value.__module__ == module:
        for member in vars(value).values():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(function, FunctionType):
                yield from _nested(function.__code__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield renamed(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


_FINDER: Final = "_find_user_code_frame"
_HAVE_FINDER: Final = ("torch.fx.experimental.symbolic_shapes", "torch._export.non_strict_utils")
_finders: Final[dict[str, Any]] = {}


def pass_over_us() -> None:
    """``torch.export`` names the innermost frame that is not its own in its errors: our frames are none of the user's."""
    shapes: Any = sys.modules.get("torch.fx.experimental.symbolic_shapes")
    if shapes is not None and hasattr(shapes, "uninteresting_files"):
        shapes.uninteresting_files().update(_OWN_FILES)
    for name in _HAVE_FINDER:
        module = sys.modules.get(name)
        if name not in _finders and hasattr(module, _FINDER):
            _finders[name] = getattr(module, _FINDER)
            setattr(module, _FINDER, _users_frame)


def _users_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and FILES[frame.f_code.co_filename] in {TORCH, OWN}:
        frame = frame.f_back
    return frame


def pass_over_no_more() -> None:
    """The probes are gone: PyTorch's set is what it was. To make it would import half of PyTorch's compiler."""
    files: Any = getattr(sys.modules.get("torch.fx.experimental.symbolic_shapes"), "uninteresting_files", None)
    if files is not None and files.cache_info().currsize:
        files().difference_update(_OWN_FILES)
    for name, finder in _finders.items():
        module = sys.modules.get(name)
        if getattr(module, _FINDER, None) is _users_frame:
            setattr(module, _FINDER, finder)
    _finders.clear()
