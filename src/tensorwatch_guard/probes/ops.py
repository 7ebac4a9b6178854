"""The ops layer, ``guard(ops=True)``: a dispatch mode that sees every operation, also in C++, hooks and backward.

It stands at the bottom of each thread's stack of modes, so that a mode of the user's that comes or goes finds its own
on top. Most operations concern nobody: one dictionary look-up and they are passed on. An operation with a watched call
open confirms it; one that no call explains is a finding of its own, ``via`` its overload.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from types import CodeType
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..current import LOCAL, Happening, Here
from ..operations import Operation
from ..policy.foresee import Foreseen
from ..session import SESSION, Session
from ..sites import Trail
from . import flights, torch_writes
from .compensation import Bumps, tensors_at, written_arguments
from .effects import Effect, effects_of, subscript
from .happen import contained
from .plans import Plan

_get_frame: Final = sys._getframe
_compiler: Final = torch.compiler
_function_mode_on: Final = torch._C._is_torch_function_mode_enabled
_has_function: Final = torch._C._has_torch_function
_push: Final = torch._C._push_on_torch_dispatch_stack
_pop: Final = torch._C._pop_torch_dispatch_stack


class Call:
    """A dispatched call that has not run, as policy's gate wants to see it."""

    __slots__ = ("args", "foreseen", "kwargs", "method", "row", "subject", "trail")

    def __init__(self, row: Operation, trail: Trail, args: Any, kwargs: Any, foreseen: tuple[Foreseen, ...]) -> None:
        self.row = row
        self.trail = trail
        self.args = args
        self.kwargs = kwargs
        self.subject = None
        self.method = False
        self.foreseen = foreseen


class OpsMode(TorchDispatchMode):
    """The mode itself; one for the process, ``LAYER.mode``. While ``on`` is False it only passes on."""

    supports_higher_order_operators = True
    is_tensorwatch = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.on = False
        self.plans: dict[int, Plan] = {}

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """torch.compile compiles as without us."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch's own wrapper would import Dynamo at the first operation; our codes are skipped as all hooks' are."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        __tracebackhide__ = True
        plan = self.plans.get(id(func))
        if plan is None:
            plan = self.plans[id(func)] = Plan(func)
        if SESSION.flying and self.on:
            return flights.follow(plan, plan.run if plan.dull else partial(_look, plan), types, args, kwargs or {})
        if plan.dull or not self.on:
            if kwargs or plan.careful or types or _function_mode_on() or _has_function(args):
                return plan.run(types, args, kwargs or {})
            # Straight to the operation: what stands between would tell PyTorch's warnings at this line.
            try:
                return plan.call(*args)
            except RuntimeError as error:
                if plan.with_tensors(args, error) is None:
                    raise
            return plan.run(types, args, {})
        return _look(plan, types, args, kwargs or {})


def _look(plan: Plan, types: Any, args: Any, kwargs: Any) -> Any:
    """An operation that may concern us."""
    __tracebackhide__ = True
    session, here = SESSION, LOCAL.here
    bumps = _owed(session, plan, args, kwargs) if plan.lost else None
    if here.busy or not session.collectors or _compiler._is_compiling_flag:
        result = plan.run(types, args, kwargs)
    elif plan.row is not None and session.devices:
        return _watch(session, here, plan, types, args, kwargs)  # no row loses bumps but _foreach_copy_: see there
    elif plan.silent and session.sharing:
        return torch_writes.follow(session, here, plan, types, args, kwargs, bumps)
    else:
        result = plan.run(types, args, kwargs)
    if bumps is not None:
        _give_back(session, plan, bumps)
    return result


def _owed(session: Session, plan: Plan, args: Any, kwargs: Any) -> Bumps | None:
    try:
        return Bumps(tensors_at(plan.lost, args, kwargs), bool(session.device_suffix))
    except Exception as error:
        session.fault(plan.name, error)
        return None


def _give_back(session: Session, plan: Plan, bumps: Bumps) -> None:
    try:
        bumps.give_back()
    except Exception as error:
        session.fault(plan.name, error)


def _watch(session: Session, here: Here, plan: Plan, types: Any, args: Any, kwargs: Any) -> Any:
    """An operation that has a row, where devices are."""
    __tracebackhide__ = True
    bumps = _owed(session, plan, args, kwargs) if plan.lost else None
    found: tuple[Effect, ...] = ()
    try:
        if plan.row is not None:
            found = effects_of(plan.row, plan.name, types, args, kwargs)
    except Exception as error:
        session.fault(plan.name, error)
    result = _tell(session, here, plan, found, types, args, kwargs) if found else plan.run(types, args, kwargs)
    if bumps is not None:
        _give_back(session, plan, bumps)
    return result


def _tell(
    session: Session, here: Here, plan: Plan, found: tuple[Effect, ...], types: Any, args: Any, kwargs: Any
) -> Any:
    """An operation that waits or moves data: part of an open happening, or a happening of its own."""
    __tracebackhide__ = True
    at = session.trail(_get_frame(1))
    outer = here.open
    if outer is not None and (at.code is None or at.key == outer.trail.key):
        outer.ops = (*outer.ops, *found)
        return plan.run(types, args, kwargs)
    brackets = subscript(at)
    for effect in found:
        effect.name = brackets or effect.name
    row = plan.as_told(found[0].name)
    if session.strict and session.gate is not None:
        call = Call(row, at, args, kwargs, tuple(effect.foreseen(session) for effect in found))
        violation = contained(session, plan.name, session.gate, call)
        if violation is not None:
            raise violation
    look = _look_around(session, here, plan, found, at, args, kwargs) if session.sharing else None
    happening = Happening(row, None, at, outer)
    here.open = happening
    started = perf_counter_ns()
    try:
        result = plan.run(types, args, kwargs)
    finally:
        here.open = outer
    elapsed = perf_counter_ns() - started
    hidden = plan.name.startswith("aten.lift_fresh") and trace_taken_back(here, at)
    seen_by = ["ops", "trace"] if happening.waits or hidden else ["ops"]

    def step(session: Session, _: Any) -> None:
        if look is not None:
            look.end(bumps=1)
        for effect in found:
            effect.tell(session, at, elapsed, seen_by)

    violation = contained(session, plan.name, step, None)
    if violation is not None:
        raise violation
    return result


def _look_around(
    session: Session, here: Here, plan: Plan, found: tuple[Effect, ...], at: Trail, args: Any, kwargs: Any
) -> torch_writes.Look | None:
    """A copy into host memory is compared here: its version counter moves after this layer has looked."""
    if not any(move.direction == "d2h" for effect in found for move in effect.moves):
        return None
    here.busy = True
    try:
        written = tensors_at(written_arguments(plan.func), args, kwargs)
        return torch_writes.around(session, written, at) if written else None
    except Exception as error:
        session.fault(plan.name, error)
        return None
    finally:
        here.busy = False


def trace_taken_back(here: Here, at: Trail) -> bool:
    """Whether the copy behind ``lift_fresh``, which modes do not see, was told by the trace layer. It is told once."""
    traced, here.traced = here.traced, None
    if traced is None or traced[0].key != at.key:
        return False
    for tally in traced[1]:
        tally.count -= 1
        tally.blocking -= 1
    return True


# -- where it is in force ----------------------------------------------------------------------------------------------


class OpsLayer:
    """The mode in the threads that enter a guard with ``ops=True``, and in those that start while one is open."""

    def __init__(self) -> None:
        self.mode = OpsMode()
        self._open = 0
        self._lock = threading.Lock()
        self._held = threading.local()
        self._run_thread: Callable[[threading.Thread], None] | None = None

    @property
    def on(self) -> bool:
        """Whether some guard asked for it."""
        return self.mode.on

    def enter(self) -> None:
        """A guard with ``ops=True`` is opened in this thread."""
        with self._lock:
            self._open += 1
            self.mode.on = True
            if self._open == 1:
                self._watch_threads()
        self.hold()

    def leave(self) -> None:
        """One of them is closed; the last one leaves nothing in force."""
        with self._lock:
            self._open = max(self._open - 1, 0)
            last = not self._open
            if last:
                self.mode.on = False
                self._leave_threads()
        self.release(for_good=last)

    def hold(self) -> None:
        """One more guard is entered in this thread."""
        self._held.times = getattr(self._held, "times", 0) + 1
        self.put()

    def release(self, *, for_good: bool = False) -> None:
        """One of them is left; with the last one, or ``for_good``, the mode goes out of this thread."""
        self._held.times = 0 if for_good else max(getattr(self._held, "times", 0) - 1, 0)
        if not self._held.times:
            self.take()

    def after_fork(self) -> None:
        """In a forked child: not in force until somebody enters a guard here."""
        self._lock, self._held = threading.Lock(), threading.local()
        self._open = 0
        self.mode.on = False
        self._leave_threads()
        self.take()

    def put(self) -> None:
        """Put the mode under this thread's other modes, once."""
        users = _users_modes()
        if self.mode in users:
            return
        for _ in users:
            _pop(None)
        for mode in (self.mode, *users):
            _push(mode)

    def take(self) -> None:
        """Take the mode out of this thread's stack, wherever it stands."""
        users = _users_modes()
        if self.mode not in users:
            return
        for _ in users:
            _pop(None)
        for mode in users:
            if mode is not self.mode:
                _push(mode)

    def _watch_threads(self) -> None:
        if self._run_thread is None:
            self._run_thread = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]
            threading.Thread._bootstrap_inner = _bootstrap_inner  # type: ignore[attr-defined]

    def _leave_threads(self) -> None:
        if vars(threading.Thread)["_bootstrap_inner"] is _bootstrap_inner:  # else somebody stands on top: ours is inert
            threading.Thread._bootstrap_inner = self._run_thread  # type: ignore[attr-defined]
            self._run_thread = None

    def run_thread(self, thread: threading.Thread) -> None:
        """All of a thread's life."""
        run = self._run_thread or _ORIGINAL
        if not self.mode.on:
            return run(thread)
        self.hold()
        try:
            return run(thread)
        finally:
            self.release()


def _users_modes() -> list[Any]:
    """This thread's modes, the top one last, but PyTorch's own (fake, proxy...), which have places of their own."""
    modes = [torch._C._get_dispatch_stack_at(place) for place in range(torch._C._len_torch_dispatch_stack())]
    return [mode for mode in modes if not mode.is_infra_mode()]


LAYER: Final = OpsLayer()
_ORIGINAL: Final[Callable[[threading.Thread], None]] = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]


def _bootstrap_inner(thread: threading.Thread) -> None:
    """Stands in for ``Thread._bootstrap_inner`` while the layer is in force."""
    LAYER.run_thread(thread)


CODES: Final[frozenset[CodeType]] = frozenset(
    function.__code__
    for function in (
        OpsMode.__torch_dispatch__,
        Plan.run,
        _look,
        _watch,
        _tell,
        _look_around,
        torch_writes.follow,
        flights.follow,
        OpsLayer.run_thread,
        _bootstrap_inner,
    )
)
"""What calls the user's code: Dynamo skips it, and nothing that it calls."""


def overload_in(frame: Any) -> str | None:
    """The operation that a frame of this layer is running."""
    if frame.f_code is OpsMode.__torch_dispatch__.__code__:
        return str(frame.f_locals["func"])
    return None
