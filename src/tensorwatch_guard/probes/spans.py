"""Spans: stretches of a training step that lend their place to what happens inside, and are boundaries for shared memory.

Backward and a DataLoader's next batch; optimizers' steps and calls that write where no counter sees it have rooms of their
own. They absorb nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from types import FrameType
from typing import Any, Final

import torch

from ..current import LOCAL, Tensor
from ..session import SESSION, Session
from ..sharing.moments import BEGIN, END
from ..sites import NOWHERE, Trail
from .probe import Hook, Maker
from .stand_in import caller, strip
from .temporaries import UNWATCHED_BATCHES
from .unseen import unseen

_get_frame: Final = sys._getframe
_compiler: Final = torch.compiler


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for tensor in value if isinstance(tensor, Tensor)] if isinstance(value, list | tuple) else []


def _ends(args: Sequence[Any], kwargs: dict[str, Any], name: str) -> tuple[list[Tensor], list[Tensor] | None]:
    """Where a backward starts, and what gradients are wanted for: None for all leaves."""
    roots = args[0] if args else kwargs.get("tensors", kwargs.get("outputs"))
    inputs = kwargs.get("inputs", args[1] if name == "grad" and len(args) > 1 else None)
    return _tensors(roots), _tensors(inputs) or None


def backward_directly(original: Any) -> Any:
    """What stands for ``autograd.backward`` (``Tensor.backward`` calls it) and ``autograd.grad``.

    A boundary, and the look for stale values.
    """
    session, local = SESSION, LOCAL

    @unseen
    def function(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        here = local.here
        if not session.collectors or here.busy or _compiler._is_compiling_flag:
            return original(*args, **kwargs)
        frame = _get_frame(1)
        stepping, here.stepping = here.stepping, False  # an optimizer whose closure calls backward reads its steps after it
        if session.sharing or session.past_counter:
            _before_backward(session, frame, args, kwargs, original.__name__)
        take_up = _put_aside(session) if stepping else None
        running = session.backwards  # in a child forked meanwhile it is another list
        running.append(frame)
        try:
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                strip(error)
                raise
            finally:
                running.remove(frame)
            if looks(session):
                trail = place_of(session, frame)
                told(session, lambda: session.torch_boundary(trail, END))
        finally:
            here.stepping = stepping
            if take_up is not None:
                take_up()
        return result

    return function


def _put_aside(session: Session) -> Callable[[], None] | None:
    """What the step that calls this backward writes is none of the backward's."""
    try:
        return session.memory.writes.silent.put_aside() if session.memory is not None else None
    except Exception as error:
        session.fault("span", error)
        return None


@unseen
def backward(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """The same as a hook."""
    return backward_directly(wrapped)(*args, **kwargs)


def _before_backward(session: Session, frame: FrameType, args: Any, kwargs: Any, name: str) -> None:
    memory = session.memory
    if memory is None:
        return
    try:
        looks = session.sharing and not session.pace.rests(comes_first=True)
        if not memory.hazards.has_work() and not looks:
            return
        trail, (roots, inputs) = session.trail(frame), _ends(args, kwargs, name)
    except Exception as error:
        session.fault("span", error)
        return
    told(session, lambda: memory.before_backward(trail, roots, inputs, looks=looks))


@unseen
def next_batch(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """A DataLoader's next batch: a boundary on both sides."""
    __tracebackhide__ = True
    session = SESSION
    if not session.collectors or LOCAL.here.busy:
        return wrapped(*args, **kwargs)
    frame = _get_frame(1)
    if session.sharing and looks(session):
        trail = place_of(session, frame)
        told(session, lambda: session.boundary(trail, BEGIN))
    begun = _unwatched(session, instance)
    try:
        result = caller(frame, wrapped)(wrapped, args, kwargs)
    finally:
        UNWATCHED_BATCHES.end(begun)
    if session.sharing and looks(session):
        trail = place_of(session, frame)
        told(session, lambda: session.boundary(trail, END))
    return result


def _unwatched(session: Session, loader: Any) -> bool:
    try:
        return UNWATCHED_BATCHES.begin(loader)
    except Exception as error:
        session.fault("span", error)
        return False


def looks(session: Session) -> bool:
    """Whether a boundary that is reached now looks at shared memory, see ``sharing/pace.py``."""
    try:
        if not session.sharing or not session.pace.rests():
            return session.sharing
        memory = session.memory
        if session.past_counter and memory is not None and memory.writes.data_views.any_kept:
            guarded(session, memory.settle)
    except Exception as error:
        session.fault("span", error)
    return False


def place_of(session: Session, frame: FrameType) -> Trail:
    """Where the user stands."""
    try:
        return session.trail(frame)
    except Exception as error:
        session.fault("span", error)
        return NOWHERE


def guarded(session: Session, step: Callable[[], object]) -> Exception | None:
    """A step of ours. Returns what policy objects, to be raised where that may be done."""
    here = LOCAL.here
    here.busy = True
    started = perf_counter_ns()
    try:
        with torch._C.DisableTorchFunction():
            step()
    except Exception as error:
        if session.is_violation(error):
            return error
        session.fault("span", error)
    finally:
        here.busy = False
        ended = perf_counter_ns()
        session.overhead_ns += ended - started
        if ended > session.due_ns:
            session.tick(ended)
    if session.beat_at and started > session.beat_at:
        session.pulse()
    return session.due(here) if here.due else None


def told(session: Session, step: Callable[[], object]) -> None:
    """A step of ours in whose course policy may object."""
    __tracebackhide__ = True
    violation = guarded(session, step)
    if violation is not None:
        raise violation


SPANS: Final[tuple[tuple[str, Hook], ...]] = (
    ("torch.autograd:backward", backward),
    ("torch.autograd:grad", backward),
    ("torch.utils.data.dataloader:_BaseDataLoaderIter.__next__", next_batch),
)
"""Python names and their spans, as in the operations table."""


SHORT_WAYS: Final[Mapping[Hook, Maker]] = {backward: backward_directly}
