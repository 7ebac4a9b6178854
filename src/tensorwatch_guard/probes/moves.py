"""Probes of copies between devices and of explicit waits."""

from __future__ import annotations

import sys
from typing import Any, Final

import torch

from ..current import LOCAL, PLAIN, Tensor, function_mode_on, is_real
from ..looks import moved, waited
from ..operations import Operation
from ..operations.copies import move_of, nbytes_of
from ..session import SESSION, Session
from .flights import after_write, before_write
from .happen import Outcome, host_tensor, is_device, is_host, watched
from .patterns import PATTERNS
from .probe import Hook
from .stand_in import stand_in
from .states import after_load, before_use
from .torch_writes import around
from .unseen import unseen

_get_frame: Final = sys._getframe
_tracing: Final = torch._C._is_tracing


def move(row: Operation) -> Hook:
    """``to``, ``cpu``, ``cuda``, ``copy_``...: a transfer if the memory is another device's afterwards."""
    long_way = watched(row, _moved, _before_copy)
    session = SESSION

    @unseen
    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not session.devices and type(instance) in PLAIN and not function_mode_on() and not _tracing():
            if instance.is_complex():  # dropping the imaginary part warns, at the innermost frame
                return stand_in(_get_frame(1))(wrapped, args, kwargs)
            return wrapped(*args, **kwargs)  # nothing can move
        return long_way(wrapped, instance, args, kwargs)

    return probe


def _moved(session: Session, outcome: Outcome) -> None:
    source, target = outcome.subject, outcome.result
    if outcome.row.name == "Tensor.copy_":
        source = outcome.args[0] if outcome.args else outcome.kwargs.get("src")
    if not (isinstance(source, Tensor) and isinstance(target, Tensor) and is_real(source) and is_real(target)):
        return
    if outcome.row.name == "Tensor.pin_memory":
        if target is not source and outcome.trail.origin is None:
            PATTERNS.pinned(session, target)
        return
    into = target if outcome.row.name == "Tensor.copy_" else None
    if into is not None:
        _landed(session, outcome)
    non_blocking = bool(outcome.kwargs.get("non_blocking", False)) or _positional_non_blocking(outcome)
    transfer(session, outcome, source, target, into, non_blocking)


def assign(row: Operation) -> Hook:
    """``x[i] = value``: a transfer if the value lives elsewhere."""
    long_way = watched(row, _assigned, _before_landing, refusals=False)
    session = SESSION

    @unseen
    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if type(instance) in PLAIN and len(args) == 2 and not session.flying and not function_mode_on():  # noqa: SIM102
            if type(args[1]) not in PLAIN or (not _tracing() and args[1].device == instance.device):
                return wrapped(*args, **kwargs)
        return long_way(wrapped, instance, args, kwargs)

    return probe


def _assigned(session: Session, outcome: Outcome) -> None:
    _landed(session, outcome)
    value = outcome.args[1] if len(outcome.args) == 2 else None
    if isinstance(value, Tensor) and is_real(value) and is_real(outcome.subject):
        if is_host(value) and is_device(outcome.subject) and _is_filled(outcome.subject, outcome.args[0], value):
            return
        transfer(session, outcome, value, outcome.subject, None, non_blocking=False)


def _is_filled(subject: Tensor, key: Any, value: Tensor) -> bool:
    """Whether a single host value is read where it is, and filled in: through a mask on the device, or into a slice.

    ``canDispatchToMaskedFill`` in ``TensorAdvancedIndexing.cpp``, ``copy_to`` in ``python_variable_indexing.cpp``.
    """
    keys = key if isinstance(key, tuple) else (key,)
    plain = [one for one in keys if one is None or one is Ellipsis or isinstance(one, int | slice)]
    if len(plain) == len(keys):
        picked = sum(isinstance(one, int) for one in keys)
        return value.dim() == 0 and (picked < subject.dim() or len(plain) > picked)
    others = [one for one in keys if not any(one is known for known in plain)]
    mask = others[0]
    return len(others) == 1 and value.numel() == 1 and is_device(mask) and mask.dtype in (torch.bool, torch.uint8)


def _before_landing(session: Session, outcome: Outcome) -> None:
    """The subject's memory is about to be written, wherever the values come from: what was written before is not its doing."""
    if host_tensor(outcome.subject):
        before_write(session, outcome)
        if session.sharing:
            outcome.look = around(session, (outcome.subject,), outcome.trail, "calls")


def _landed(session: Session, outcome: Outcome) -> None:
    after_write(session, outcome)
    if outcome.look is not None:
        outcome.look.end()


def _before_copy(session: Session, outcome: Outcome) -> None:
    """Of all that moves only ``copy_`` writes memory that is there."""
    if outcome.row.name != "Tensor.copy_" or not host_tensor(outcome.subject):
        return
    source = outcome.args[0] if outcome.args else outcome.kwargs.get("src")
    memory = session.memory
    if session.flying and memory is not None and is_device(source):
        memory.hazards.in_flight.ordered(outcome.subject)
    _before_landing(session, outcome)


def _positional_non_blocking(outcome: Outcome) -> bool:
    """``to(device, dtype, True)``, ``cuda(device, True)``, ``copy_(src, True)``: the first bool by position."""
    flags = [value for value in outcome.args if isinstance(value, bool)]
    return bool(flags and flags[0])


def transfer(
    session: Session, outcome: Outcome, source: Tensor, target: Tensor, into: Tensor | None, non_blocking: bool
) -> None:
    """Tell a transfer, or nothing where source and target live on one device."""
    with torch._C.DisableTorchFunction():
        found = move_of(source, target.device, into=into, dtype=target.dtype, non_blocking=non_blocking)
    if found is None:
        return
    suffix = session.device_suffix
    blocking = found.blocking or bool(outcome.waits)
    tallies = session.emit(
        "transfer",
        outcome.row.name,
        outcome.trail,
        key=found.direction,
        nbytes=found.nbytes,
        blocked_ns=outcome.nanoseconds if blocking else 0,
        blocking=blocking,
        implicit=outcome.row.implicit,
        details={
            "direction": found.direction,
            "src": found.src_device + (suffix if found.src_device != "cpu" else ""),
            "dst": found.dst_device + (suffix if found.dst_device != "cpu" else ""),
            "pinned": found.pinned,
            "non_blocking": found.non_blocking,
            "seen_by": outcome.seen_by,
        },
    )
    host = {"h2d": source, "d2h": target}.get(found.direction)
    memory = session.memory
    if blocking:
        waited(session, outcome.trail, tallies, host)
    else:
        moved(session, outcome.trail, host, tallies)
    if memory is not None and host is not None and not blocking:
        memory.hazards.in_flight.start(outcome.row.name, outcome.trail, host, to_host=found.direction == "d2h")
    PATTERNS.moved(session, found.direction, source, target, outcome.trail, tallies)


def module(row: Operation) -> Hook:
    """A whole module moves: one transfer with the sum of bytes; the moves inside belong to it."""
    return watched(row, _module_moved, _module_before, refusals=False)


def _memory_of(module: torch.nn.Module) -> dict[str, tuple[torch.device, int]]:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {name: (tensor.device, nbytes_of(tensor)) for name, tensor in tensors if is_real(tensor)}


def _module_before(session: Session, outcome: Outcome) -> None:
    if outcome.row.name == "Module.load_state_dict":
        before_use(session, outcome)
    if not session.devices:
        return
    if outcome.row.name == "Module.load_state_dict":
        state = outcome.args[0] if outcome.args else outcome.kwargs.get("state_dict", {})
        outcome.happening.data = {name: (t.device, nbytes_of(t)) for name, t in state.items() if isinstance(t, Tensor)}
    else:
        outcome.happening.data = _memory_of(outcome.subject)


def _module_moved(session: Session, outcome: Outcome) -> None:
    if outcome.row.name == "Module.load_state_dict":
        after_load(session, outcome)
    before = outcome.happening.data
    if not before:
        return
    after = _memory_of(outcome.subject)
    crossed = [
        (start, after[name][0], nbytes)
        for name, (start, nbytes) in before.items()
        if name in after and start != after[name][0] and "meta" not in (start.type, after[name][0].type)
    ]
    if not crossed:
        return
    start, end, _ = crossed[0]
    direction = "h2d" if start.type == "cpu" else "d2h" if end.type == "cpu" else "d2d"
    flags = outcome.kwargs.get("non_blocking", False)
    blocking = direction != "d2d"
    tallies = session.emit(
        "transfer",
        outcome.row.name,
        outcome.trail,
        key=direction,
        nbytes=sum(nbytes for _, _, nbytes in crossed),
        blocked_ns=outcome.nanoseconds if blocking else 0,
        blocking=blocking,
        details={
            "direction": direction,
            "src": session.device_label(start) if start.type != "cpu" else "cpu",
            "dst": session.device_label(end) if end.type != "cpu" else "cpu",
            "pinned": False if direction == "h2d" else None,
            "non_blocking": bool(flags),
            "seen_by": outcome.seen_by,
            "tensors": len(crossed),
        },
    )
    if blocking:
        waited(session, outcome.trail, tallies)


def wait(row: Operation) -> Hook:
    """An explicit synchronize."""

    def synchronized(session: Session, outcome: Outcome) -> None:
        tallies = session.emit(
            "sync",
            row.name,
            outcome.trail,
            blocked_ns=outcome.nanoseconds,
            blocking=True,
            details={"device": _device_of(outcome), "seen_by": outcome.seen_by},
        )
        waited(session, outcome.trail, tallies)

    return watched(row, synchronized, refusals=False)


def poll(row: Operation) -> Hook:
    """``query``: nobody waits, but a True says that the copies are done."""

    def asked(session: Session, outcome: Outcome) -> None:
        if outcome.result is True and session.memory is not None:
            session.memory.waited(outcome.trail)

    return watched(row, asked, refusals=False)


def _device_of(outcome: Outcome) -> str:
    if outcome.row.name.endswith("synchronize") and hasattr(outcome.subject, "device"):
        return SESSION.device_label(outcome.subject.device)
    kind = outcome.row.name.split(".")[1]
    if kind == "accelerator":
        current = torch.accelerator.current_accelerator()
        kind = current.type if current is not None else kind
    return f"{kind}{SESSION.device_suffix}"


def absorb(row: Operation) -> Hook:
    """A call that only swallows what happens inside."""
    return watched(row, lambda session, outcome: None, refusals=False)


__all__ = ["LOCAL", "absorb", "host_tensor", "module", "move", "transfer", "wait"]
