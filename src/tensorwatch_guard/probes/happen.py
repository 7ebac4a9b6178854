"""The long way of a watched call: a happening is opened, the call runs, its outcome is told.

Whatever goes wrong in here is a fault of ours and is kept away from the user; whatever the call itself raises passes
unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import torch

from ..collector import Tally
from ..current import LOCAL, Happening, Tensor, is_plain, is_real, on_cpu
from ..looks import after_call, waited
from ..operations import Operation
from ..session import SESSION, Session
from ..sites import FILES, OWN, Trail
from .hiding import pass_over_us
from .probe import Hook
from .refusals import refused
from .stand_in import caller, strip
from .unseen import unseen

if TYPE_CHECKING:
    from .torch_writes import Look

_get_frame: Final = sys._getframe
_compiler: Final = torch.compiler
_tracing: Final = torch._C._is_tracing


class Outcome:
    """A watched call that has run: what it got, what it gave, how long the host was in it (nanoseconds)."""

    __slots__ = ("args", "happening", "kwargs", "look", "method", "nanoseconds", "result", "row", "subject", "told")

    def __init__(self, happening: Happening, subject: Any, args: Any, kwargs: Any, method: bool) -> None:
        self.happening = happening
        self.row: Operation = happening.row
        self.subject = subject
        self.args = args
        self.kwargs = kwargs
        self.method = method
        self.look: Look | None = None
        """At the shared memory that the call may write."""
        self.result: Any = None
        self.nanoseconds = 0
        self.told = LOCAL.here.told

    @property
    def trail(self) -> Trail:
        """Site and origin of the call."""
        return self.happening.trail

    @property
    def waits(self) -> int:
        """How often the accelerator's own call-backs said that the host waits."""
        return self.happening.waits

    @property
    def seen_by(self) -> list[str]:
        """The layers that saw it."""
        layers = ["calls", "trace"] if self.waits else ["calls"]
        return [*layers, "ops"] if self.happening.ops else layers

    @property
    def via(self) -> tuple[str, ...]:
        """Nothing: the call layer sees the user's own call."""
        return ()

    def sync(self, tensor: Tensor | None, nbytes: int = 0, explicit: bool = False) -> None:
        """The host waited for a device in this call."""
        tallies = SESSION.emit(
            "sync",
            self.row.name,
            self.trail,
            nbytes=nbytes,
            blocked_ns=self.nanoseconds,
            blocking=True,
            implicit=self.row.implicit and not explicit,
            details={"device": device_name(tensor), "seen_by": self.seen_by},
        )
        waited(SESSION, self.trail, tallies)

    def crossed(self, direction: str, device: torch.device, nbytes: int, **more: object) -> list[Tally]:
        """Host memory and a device's were copied in this call, which waited for it."""
        label = SESSION.device_label(device)
        tallies = SESSION.emit(
            "transfer",
            self.row.name,
            self.trail,
            key=direction,
            nbytes=nbytes,
            blocked_ns=self.nanoseconds,
            blocking=True,
            implicit=self.row.implicit,
            details={
                "direction": direction,
                "src": "cpu" if direction == "h2d" else label,
                "dst": label if direction == "h2d" else "cpu",
                "pinned": False,
                "non_blocking": False,
                "seen_by": self.seen_by,
                **more,
            },
        )
        waited(SESSION, self.trail, tallies)
        return tallies

    def peek(self, tensor: Tensor, tallies: list[Tally]) -> None:
        """An event that is no boundary, counted in ``tallies``: look at the memory at hand."""
        if SESSION.sharing:
            after_call(SESSION, self.trail, tensor, tallies)


def device_name(tensor: Tensor | None) -> str:
    """``cuda:0``, with "(simulated)" where it is one."""
    if tensor is None:
        return SESSION.device_label(None)
    with torch._C.DisableTorchFunction():
        return SESSION.device_label(tensor.device)


def watched(
    row: Operation,
    after: Callable[[Session, Outcome], None],
    before: Callable[[Session, Outcome], None] | None = None,
    refusals: bool = True,
) -> Hook:
    """A probe that opens a happening. ``before`` may raise a violation; ``after`` may not raise at all."""
    session = SESSION
    name = row.name

    def _with_what_was_inside(session: Session, outcome: Outcome) -> None:
        """What other layers saw in a call that has nothing to tell by itself is told as theirs."""
        here = LOCAL.here
        told = here.told
        after(session, outcome)
        if here.told != told:
            return
        for effect in outcome.happening.ops:
            effect.tell(session, outcome.trail, outcome.nanoseconds, ["ops", "trace"] if outcome.waits else ["ops"])
        if here.told == outcome.told:
            _traced(session, outcome)

    @unseen
    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not session.collectors:
            return wrapped(*args, **kwargs)
        frame = _get_frame(1)
        while FILES[frame.f_code.co_filename] == OWN and frame.f_back is not None:
            frame = frame.f_back  # a short way's probe sent it here
        if _compiler._is_compiling_flag or _tracing():  # what we ask of tensors would be recorded
            if _compiler._is_compiling_flag:
                pass_over_us()
            return caller(frame, wrapped)(wrapped, args, kwargs)
        outcome = None
        try:
            method = instance is not None
            subject = instance if method else (args[0] if args else None)
            happening = session.begin(row, subject, frame)
            if happening is not None:
                outcome = Outcome(happening, subject, args, kwargs, method)
        except Exception as error:
            session.fault(name, error)
        if outcome is None:
            return _unheard(row, frame, wrapped, instance, args, kwargs)
        violation = _first_word(session, outcome, before)
        if violation is not None:
            session.end(outcome.happening)
            raise violation
        started = perf_counter_ns()
        try:
            result = outcome.result = caller(frame, wrapped)(wrapped, args, kwargs)
        except BaseException as error:
            session.end(outcome.happening)
            strip(error)
            if row.probe == "read" and outcome.waits:  # the value was fetched: what Python made of it was refused
                contained(session, name, after, outcome)
            elif refusals and isinstance(error, Exception):
                refused(row, outcome.trail, error, kwargs)
            raise
        outcome.nanoseconds = perf_counter_ns() - started
        session.end(outcome.happening)
        step = _with_what_was_inside if outcome.happening.ops or outcome.happening.waits else after
        violation = contained(session, name, step, outcome)
        if violation is not None:
            raise violation
        return result

    return probe


@unseen
def _unheard(row: Operation, frame: Any, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """A call that belongs to an open happening; what a mode or a subclass makes of it from the user's code does, too."""
    __tracebackhide__ = True
    here = LOCAL.here
    outer = here.open
    subject = instance if instance is not None else (args[0] if args else None)
    comes_back = outer is not None and outer.row is row and outer.subject is subject
    if outer is None or (is_plain(subject) and not comes_back):
        return caller(frame, wrapped)(wrapped, args, kwargs)
    trail = outer.trail
    if comes_back:
        try:
            trail = SESSION.trail(frame)
        except Exception as error:
            SESSION.fault(row.name, error)
    within = here.open = Happening(row, subject, trail, outer)
    try:
        return caller(frame, wrapped)(wrapped, args, kwargs)
    finally:
        here.open = outer
        outer.ops = (*outer.ops, *within.ops)


Step = Callable[[Session, Outcome], None]


def _traced(session: Session, outcome: Outcome) -> None:
    """The accelerator said that the host waits in this call, and nobody knows why."""
    tallies = session.emit(
        "sync",
        "sync inside an operation",
        outcome.trail,
        blocked_ns=outcome.nanoseconds,
        blocking=True,
        implicit=True,
        via=(outcome.row.name,),
        details={"device": device_name(outcome.subject if is_device(outcome.subject) else None), "seen_by": ["trace"]},
    )
    waited(session, outcome.trail, tallies)


def _first_word(session: Session, outcome: Outcome, before: Step | None) -> Exception | None:
    """Policy speaks before the call, then the probe itself."""
    if session.strict and session.gate is not None:
        violation = contained(session, outcome.row.name, session.gate, outcome)
        if violation is not None:
            return violation
    return contained(session, outcome.row.name, before, outcome) if before is not None else None


def contained(session: Session, name: str, step: Callable[[Session, Any], None], outcome: Any) -> Exception | None:
    """Run a step of ours. A violation is handed back to be raised; any other exception is a fault of ours."""
    here = LOCAL.here
    here.busy = True
    started = perf_counter_ns()
    try:
        with torch._C.DisableTorchFunction():  # what we ask of tensors is nobody's business
            step(session, outcome)
    except Exception as error:
        if session.is_violation(error):
            return error
        session.fault(name, error)
    finally:
        here.busy = False
        ended = perf_counter_ns()
        session.overhead_ns += ended - started
        if ended > session.due_ns:
            session.tick(ended)
    if session.beat_at and started > session.beat_at:
        session.pulse()
    return session.due(here) if here.due else None


def is_device(value: object) -> bool:
    """Whether a value is a tensor in a device's memory."""
    return isinstance(value, Tensor) and not on_cpu(value)


def is_host(value: object) -> bool:
    """Whether a value is a tensor in host memory."""
    return isinstance(value, Tensor) and on_cpu(value)


def host_tensor(value: object) -> bool:
    """Whether a value is a real tensor in host memory."""
    return isinstance(value, Tensor) and is_real(value) and on_cpu(value)
