"""Spans: stretches of a training step that lend their place to what happens inside, and are boundaries for shared memory.

Backward, the optimizer's step, a DataLoader's next batch. They absorb nothing.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import unwrap
from time import perf_counter_ns
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ..current import LOCAL, Here, Tensor
from ..session import SESSION, Session
from ..sharing.moments import BEGIN, END
from ..sites import FILES, NOWHERE, USER, Trail
from .install import Hook, Maker
from .stand_in import caller, strip
from .unseen import unseen

if TYPE_CHECKING:
    from ..memory import Memory

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
        session.backwards.append(frame)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            strip(error)
            raise
        finally:
            session.backwards.remove(frame)
        if _looks(session):
            trail = _place(session, frame)
            told(session, lambda: session.torch_boundary(trail, END))
        here.stepping = stepping
        return result

    return function


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
    if not session.sharing or not session.collectors or LOCAL.here.busy:
        return wrapped(*args, **kwargs)
    frame = _get_frame(1)
    if _looks(session):
        trail = _place(session, frame)
        told(session, lambda: session.boundary(trail, BEGIN))
    result = caller(frame, wrapped)(wrapped, args, kwargs)
    if _looks(session):
        trail = _place(session, frame)
        told(session, lambda: session.boundary(trail, END))
    return result


@unseen
def silent_write(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """A call that writes where no version counter sees it (BatchNorm's statistics, ``apply_``): looked at before and after."""
    __tracebackhide__ = True
    session = SESSION
    if not session.sharing or not session.collectors or LOCAL.here.busy or _compiler._is_compiling_flag:
        return wrapped(*args, **kwargs)
    if len(args) > 5 and (args[3] is None or not args[5]):  # no running statistics, or only read: in evaluation
        return wrapped(*args, **kwargs)
    if not _shared(session, (instance, *args[3:5], *kwargs.values())):
        return wrapped(*args, **kwargs)
    frame = _get_frame(1)
    trail = _place(session, frame)
    told(session, lambda: _begins(session, trail, (instance, *args[3:5], *kwargs.values())))
    try:
        result = caller(frame, wrapped)(wrapped, args, kwargs)
    except BaseException as error:
        strip(error)
        _guarded(session, lambda: session.torch_boundary(trail, END))
        raise
    told(session, lambda: session.torch_boundary(trail, END))
    return result


def _begins(session: Session, trail: Trail, values: tuple[object, ...]) -> None:
    """A call that writes some of these is about to run; a line follower may look at all that runs in it."""
    session.torch_boundary(trail, BEGIN)
    if session.memory is not None:
        written = [one for one in values if isinstance(one, Tensor)]
        session.memory.writes.silent.begin(lambda: written, trail.code)


def _looks(session: Session) -> bool:
    """Whether a boundary that is reached now looks at shared memory, see ``sharing/pace.py``."""
    try:
        if not session.sharing or not session.pace.rests():
            return session.sharing
        memory = session.memory
        if session.past_counter and memory is not None and memory.writes.data_views.any_kept:
            _guarded(session, memory.settle)
    except Exception as error:
        session.fault("span", error)
    return False


def _shared(session: Session, values: tuple[object, ...]) -> bool:
    """Whether the memory of some tensor among them is known to be shared."""
    try:
        with torch._C.DisableTorchFunction():
            return session.knows(value for value in values if isinstance(value, Tensor))
    except Exception as error:
        session.fault("span", error)
        return False


def _place(session: Session, frame: FrameType) -> Trail:
    try:
        return session.trail(frame)
    except Exception as error:
        session.fault("span", error)
        return NOWHERE


def _guarded(session: Session, step: Callable[[], object]) -> Exception | None:
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
    violation = _guarded(session, step)
    if violation is not None:
        raise violation


SPANS: Final[tuple[tuple[str, Hook], ...]] = (
    ("torch.autograd:backward", backward),
    ("torch.autograd:grad", backward),
    ("torch.utils.data.dataloader:_BaseDataLoaderIter.__next__", next_batch),
    ("torch:batch_norm", silent_write),
    ("torch:instance_norm", silent_write),
    ("torch:Tensor.apply_", silent_write),
    ("torch:Tensor.map_", silent_write),
    ("torch:Tensor.map2_", silent_write),
)
"""Python names and their spans, as in the operations table."""


SHORT_WAYS: Final[Mapping[Hook, Maker]] = {backward: backward_directly}


class OptimizerSteps:
    """The global hooks on every optimizer's step: they count steps and are boundaries."""

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def start(self) -> None:
        """Register the hooks; PyTorch calls them around each ``step``."""
        self._handles = [register_optimizer_step_pre_hook(_before_step), register_optimizer_step_post_hook(_after_step)]

    def stop(self) -> None:
        """Take them away."""
        while self._handles:
            self._handles.pop().remove()


def _before_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    __tracebackhide__ = True
    if _compiler.is_compiling():  # a compiled step: Dynamo sees an empty hook
        return
    session = SESSION
    if not session.collectors or _compiler._is_compiling_flag:
        return
    here, memory = LOCAL.here, session.memory
    here.stepping, here.step_reads, here.step_looks = True, 0, False
    try:
        # always where only a look right after it knows who wrote
        here.step_looks = _looks(session) or (session.sharing and _is_fused(optimizer))
        if memory is None or not (here.step_looks or memory.states):
            return
    except Exception as error:
        session.fault("span", error)
        return
    trail = _place(session, _get_frame(1))
    if memory.states:
        told(session, lambda: memory.states.look(trail))
    if here.step_looks:
        told(session, lambda: session.torch_boundary(trail, BEGIN))
        told(session, lambda: _writes_silently(memory, optimizer, trail))


def _writes_silently(memory: Memory, optimizer: Any, trail: Trail) -> None:
    """Its step is PyTorch's, or one of the user's around PyTorch's: one that is all the user's writes as it likes."""
    steps = [unwrap(step) for kind in type(optimizer).__mro__ if isinstance(step := vars(kind).get("step"), FunctionType)]
    codes = [step.__code__ for step in steps]
    own = [code for code in codes if FILES[code.co_filename] == USER]
    if len(own) < len(codes) - 1:  # the last one is of the base class, and does nothing
        memory.writes.silent.begin(partial(_parameters, weakref.ref(optimizer)), trail.code, *own)


def _parameters(optimizer: weakref.ref[Any]) -> Iterator[Tensor]:
    it = optimizer()
    if it is None:
        return
    for group in it.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            yield parameter
            kept = it.state.get(parameter)
            if isinstance(kept, Mapping):
                yield from (value for value in kept.values() if isinstance(value, Tensor))


def _is_fused(optimizer: Any) -> bool:
    """Whether it writes where no version counter sees it."""
    return bool(optimizer.defaults.get("fused"))


def _silently_written(optimizer: Any) -> frozenset[int]:
    """Where the parameters lie that a fused optimizer has written."""
    if not _is_fused(optimizer):
        return frozenset()
    every = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return frozenset(parameter.data_ptr() for parameter in every if parameter.grad is not None)


def _after_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    __tracebackhide__ = True
    if _compiler.is_compiling():
        return
    session = SESSION
    if not session.collectors or _compiler._is_compiling_flag:
        return
    here, memory, frame = LOCAL.here, session.memory, _get_frame(1)
    here.stepping = False
    try:
        if here.step_reads:
            session.count_step_reads(here, frame)
        if here.step_looks or (memory is not None and (memory.states or _is_fused(optimizer))):
            told(session, lambda: _after_writing(session, here, optimizer, frame))
        session.steps.stepped(optimizer)
        if (now := perf_counter_ns()) > session.due_ns:
            session.tick(now)
        if session.beat_at and now > session.beat_at:
            session.pulse()
    except Exception as error:
        if session.is_violation(error):
            raise
        session.fault("span", error)


def _after_writing(session: Session, here: Here, optimizer: Any, frame: FrameType) -> None:
    memory, trail = session.memory, session.trail(frame)
    if here.step_looks:
        session.torch_boundary(trail, END)
    if memory is None:
        return
    if _is_fused(optimizer):
        memory.hazards.fused_step(trail, optimizer)
        session.sharing = True
    if memory.states:
        memory.states.look(trail, after_step=True, addresses=_silently_written(optimizer))


OPEN: Final = (_before_step.__code__, _after_step.__code__)
"""Code that Dynamo is to look into: skipped, it would break the graph of a compiled optimizer step."""
