"""Who else watches a program, as contexts: the least that a dispatch mode or a tracer can cost, and PyTorch's own tools."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from measuring import quiet
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from tensorwatch_guard.probes.calls import installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType


class Empty(TorchDispatchMode):
    """What anybody would write."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _look(_frame: FrameType, _event: str, _argument: object) -> Any:
    return _look


@contextlib.contextmanager
def line_tracer() -> Iterator[None]:
    """A ``sys.settrace`` function that looks at every line and does nothing: what watchers of variables do at least."""
    before = sys.gettrace()
    sys.settrace(_look)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _in_place(probe: Callable[[Any], Any]) -> Iterator[None]:
    """``probe`` of each function that the guard watches stands in its place, and empty hooks of steps."""
    with contextlib.ExitStack() as kept:
        for (owner, attribute), _ in installation()._hooks:
            original = getattr(owner, attribute)
            if isinstance(original, type):
                continue
            before = vars(owner).get(attribute)
            setattr(owner, attribute, probe(original))
            kept.callback(setattr, owner, attribute, before) if before is not None else kept.callback(delattr, owner, attribute)
        for register in (register_optimizer_step_pre_hook, register_optimizer_step_post_hook):
            kept.callback(register(_empty_hook).remove)
        yield


@contextlib.contextmanager
def empty_probes() -> Iterator[None]:
    """A function that only calls on around each that the guard watches, and empty hooks of steps: the least a guard costs."""
    with _in_place(_empty):
        yield


@contextlib.contextmanager
def counting_probes() -> Iterator[None]:
    """The same, and each call is counted for the line that makes it: the least that knows where something happened."""
    with _in_place(_counting):
        yield


def _counting(original: Any) -> Any:
    counts: dict[tuple[int, int], int] = {}

    def function(*args: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)
        key = id(frame.f_code), frame.f_lasti
        counts[key] = counts.get(key, 0) + 1
        return original(*args, **kwargs)

    return function


def _empty(original: Any) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return function


def _empty_hook(*_: Any) -> None:
    pass


def debug_mode() -> AbstractContextManager[Any]:
    """A dispatch mode that lists every operation."""
    from torch.utils._debug_mode import DebugMode

    return DebugMode()


def profiler() -> AbstractContextManager[Any]:
    """Records operations in C++."""
    return profile(activities=[ProfilerActivity.CPU])


def profiler_with_stacks() -> AbstractContextManager[Any]:
    """The same, with the Python functions around them."""
    return profile(activities=[ProfilerActivity.CPU], with_stack=True)


WATCHERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "guard": quiet,
    "guard, ops": lambda: quiet(ops=True),
    "empty probes": empty_probes,
    "counting probes": counting_probes,
    "empty settrace": line_tracer,
    "profiler": profiler,
    "profiler, stacks": profiler_with_stacks,
    "empty mode": Empty,
}
OURS = ("guard", "guard, ops")
