"""The hooks on every optimizer's step: they count steps, and are boundaries for shared memory."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from inspect import unwrap
from threading import get_ident
from time import perf_counter_ns
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ..current import LOCAL, Here, Tensor
from ..session import SESSION, Session
from ..sharing.moments import BEGIN, END
from ..sites import FILES, USER, Trail
from .coasting import COAST
from .spans import looks, place_of, told
from .step_reads import STEP_READS

if TYPE_CHECKING:
    from ..memory import Memory

_get_frame: Final = sys._getframe
_in_dynamo: Final = torch.compiler.is_dynamo_compiling
_compiler: Final = torch.compiler


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
        COAST.clear()


def _before_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    __tracebackhide__ = True
    if _in_dynamo():  # a compiled step: Dynamo sees an empty hook
        return
    session, coast = SESSION, COAST
    try:
        if (
            coast.left
            and coast.last() is optimizer  # type: ignore[misc]
            and coast.ident == get_ident()
            and coast.generation == session.generation
            and not coast.unwritten
            and (coast.reads_at is None or STEP_READS.passes())
            and not (session.sharing and (coast.views.any_kept or not session.pace.rests()))
        ):
            coast.left -= 1
            coast.on = True
            return
    except Exception as error:
        session.fault("span", error)
    coast.left, coast.on = 0, False
    if session.collectors and not _compiler._is_compiling_flag:
        _before_whole(session, optimizer, _get_frame(1))


def _before_whole(session: Session, optimizer: Any, frame: FrameType) -> None:
    """A step that does not coast. A function by itself: one with closures in it takes longer to be entered."""
    __tracebackhide__ = True
    here, memory = LOCAL.here, session.memory
    here.stepping, here.step_reads, here.step_looks = True, 0, False
    try:
        STEP_READS.begin(here, session.steps.of(optimizer))
        # always where only a look right after it knows who wrote
        here.step_looks = looks(session) or (session.sharing and _is_fused(optimizer))
        if memory is None or not (here.step_looks or memory.states.unwritten):
            return
    except Exception as error:
        session.fault("span", error)
        return
    trail = place_of(session, frame)
    if memory.states.unwritten:
        told(session, lambda: memory.states.look(trail))
    if here.step_looks:
        told(session, lambda: session.torch_boundary(trail, BEGIN))
        told(session, lambda: _writes_silently(memory, optimizer, trail, frame.f_code))


def _writes_silently(memory: Memory, optimizer: Any, trail: Trail, within: CodeType) -> None:
    """Its step is PyTorch's, or one of the user's around PyTorch's: one that is all the user's writes as it likes.

    ``within``: PyTorch's function around the step, which calls the hooks.
    """
    steps = [unwrap(step) for kind in type(optimizer).__mro__ if isinstance(step := vars(kind).get("step"), FunctionType)]
    codes = [step.__code__ for step in steps]
    own = [code for code in codes if FILES[code.co_filename] == USER]
    if len(own) < len(codes) - 1:  # the last one is of the base class, and does nothing
        memory.writes.silent.begin(partial(_parameters, weakref.ref(optimizer)), trail.code, *own, within=within)


def _parameters(optimizer: weakref.ref[Any]) -> Iterator[Tensor]:
    it = optimizer()
    if it is None:
        return
    for group in it.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None and not parameter.requires_grad:  # a closure may have cleared them for now
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
    if _in_dynamo():
        return
    session, coast = SESSION, COAST
    try:
        if coast.on and coast.ident == get_ident() and coast.last() is optimizer:  # type: ignore[misc]
            coast.on = False
            if coast.reads_at is None or coast.count_reads(coast.reads_at, session.steps.now):
                session.steps.stepped(coast.stepping)
                return
    except Exception as error:
        session.fault("span", error)
    if session.collectors and not _compiler._is_compiling_flag:
        _after_whole(session, optimizer, _get_frame(1))


def _after_whole(session: Session, optimizer: Any, frame: FrameType) -> None:
    __tracebackhide__ = True
    here, memory, steps = LOCAL.here, session.memory, session.steps
    try:
        stepping = steps.of(optimizer)
        STEP_READS.end(here, stepping)
        if here.step_reads:
            session.count_step_reads(here, frame)
        try:
            if here.step_looks or (memory is not None and (memory.states.unwritten or _is_fused(optimizer))):
                told(session, lambda: _after_writing(session, here, optimizer, frame))
        finally:
            steps.stepped(stepping)  # a violation is no reason to forget the step
        now = perf_counter_ns()
        if not (here.step_looks or (memory is not None and memory.states.unwritten) or _is_fused(optimizer)):
            COAST.settle(session, here, optimizer, frame, now)
        if now > session.due_ns:
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
        try:
            session.torch_boundary(trail, END)
        finally:
            if memory is not None:
                memory.writes.silent.over()
    if memory is None:
        return
    if _is_fused(optimizer):
        memory.hazards.fused_step(trail, optimizer)
        session.begin_sharing()
    if memory.states.unwritten or (memory.states.quiet and _is_fused(optimizer)):
        memory.states.look(trail, after_step=True, addresses=_silently_written(optimizer))
