"""Probes of calls that give a storage other memory: arrays handed out before point to freed memory afterwards."""

from __future__ import annotations

from typing import Any

import torch

from ..current import Tensor, is_real, on_cpu
from ..operations import Operation
from ..session import Session
from .happen import Outcome, watched
from .probe import Hook


def relocate(row: Operation) -> Hook:
    """``share_memory_`` and its like: told before the call, while the memory is still there."""
    return watched(row, lambda session, outcome: None, _before, refusals=False)


def _before(session: Session, outcome: Outcome) -> None:
    if not session.sharing or session.memory is None:
        return
    for storage in _storages(outcome):
        session.memory.hazards.relocating(outcome.trail, outcome.row.name, storage)


def _storages(outcome: Outcome) -> list[torch.UntypedStorage]:
    subject = outcome.subject
    name = outcome.row.name
    if name == "Queue.put":
        sent = outcome.args[0] if outcome.args else outcome.kwargs.get("obj")
        values = list(sent.values()) if isinstance(sent, dict) else sent if isinstance(sent, list | tuple) else [sent]
        tensors: list[Any] = [value for value in values if isinstance(value, Tensor)]
    elif isinstance(subject, torch.nn.Module):
        tensors = [*subject.parameters(), *subject.buffers()]
    elif isinstance(subject, Tensor):
        tensors = [subject]
    elif isinstance(subject, torch.UntypedStorage):
        return [subject] if _moves_storage(subject, name, outcome) else []
    else:
        return []
    found = []
    for tensor in tensors:
        if is_real(tensor) and on_cpu(tensor) and tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            if _moves_storage(storage, name, outcome):
                found.append(storage)
    return found


def _moves_storage(storage: torch.UntypedStorage, name: str, outcome: Outcome) -> bool:
    """Whether this call will give the storage other memory."""
    if name.endswith(("share_memory_", "share_memory", "Queue.put")):
        return not storage.is_shared()
    if not storage.resizable():
        return False  # PyTorch refuses
    if name == "UntypedStorage.resize_":
        wanted = outcome.args[0] if outcome.args else outcome.kwargs.get("size", 0)
        return int(wanted) != storage.nbytes()
    if name == "Tensor.resize_":
        sizes = outcome.args[0] if outcome.args and not isinstance(outcome.args[0], int) else outcome.args
        elements = 1
        for size in sizes:
            elements *= int(size)
        return bool(elements * outcome.subject.element_size() > storage.nbytes())
    return False
