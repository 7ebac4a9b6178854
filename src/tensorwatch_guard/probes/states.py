"""Probes of a module's state: where it is taken, and where it is loaded or saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..operations import Operation
from ..session import Session
from .happen import Outcome, watched
from .probe import Hook


def take(row: Operation) -> Hook:
    """``Module.state_dict``: what it gave is remembered while it lives."""
    return watched(row, _taken, refusals=False)


def save(row: Operation) -> Hook:
    """``torch.save``: told before the file is written."""
    return watched(row, lambda session, outcome: _crossed(outcome, _state(outcome), "d2h"), before_use, refusals=False)


def load(row: Operation) -> Hook:
    """``torch.load``: what is put on a device goes there through the host."""
    return watched(row, lambda session, outcome: _crossed(outcome, outcome.result, "h2d"), refusals=False)


def _crossed(outcome: Outcome, state: Any, direction: str) -> None:
    """The memory on a device that a file was written from, or read into: one transfer."""
    if not outcome.waits or outcome.happening.ops:  # the ops layer has told each copy
        return
    storages = {storage._cdata: storage for storage in _device_storages(state)}
    if storages:
        device, nbytes = next(iter(storages.values())).device, sum(storage.nbytes() for storage in storages.values())
        outcome.crossed(direction, device, nbytes, tensors=len(storages))


def _device_storages(value: Any, depth: int = 0) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        if not value.is_cpu and not value.is_meta and value.layout is torch.strided:
            yield value.untyped_storage()
    elif isinstance(value, torch.UntypedStorage | torch.TypedStorage):  # pickle asks for a storage by itself
        untyped = value if isinstance(value, torch.UntypedStorage) else value._untyped_storage
        if untyped.device.type not in ("cpu", "meta"):
            yield untyped
    elif isinstance(value, torch.nn.Module):
        yield from _device_storages([*value.parameters(), *value.buffers()], depth + 1)
    elif depth < 8 and isinstance(value, dict):
        for one in value.values():
            yield from _device_storages(one, depth + 1)
    elif depth < 8 and isinstance(value, list | tuple):
        for one in value:
            yield from _device_storages(one, depth + 1)


def _taken(session: Session, outcome: Outcome) -> None:
    memory = session.memory
    if memory is None or memory.mode == "off" or outcome.kwargs.get("destination") is not None or outcome.args[1:]:
        return
    memory.states.taken(outcome.result, outcome.trail)


def before_use(session: Session, outcome: Outcome) -> None:
    """A state is about to be loaded or saved."""
    memory = session.memory
    if memory is not None and memory.states:
        memory.state_used(_state(outcome), outcome.row.name, outcome.trail)


def after_load(session: Session, outcome: Outcome) -> None:
    """A state was loaded."""
    memory = session.memory
    if memory is not None and memory.states:
        memory.states.renew(_state(outcome))


def _state(outcome: Outcome) -> Any:
    """``load_state_dict(state)`` and ``save(obj, file)`` name it differently."""
    args = outcome.args
    return args[0] if args else outcome.kwargs.get("state_dict", outcome.kwargs.get("obj"))
