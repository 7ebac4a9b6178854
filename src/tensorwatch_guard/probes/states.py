"""Probes of a module's state: where it is taken, and where it is loaded or saved."""

from __future__ import annotations

from typing import Any

from ..operations import Operation
from ..session import Session
from .happen import Outcome, watched
from .install import Hook


def take(row: Operation) -> Hook:
    """``Module.state_dict``: what it gave is remembered while it lives."""
    return watched(row, _taken, refusals=False)


def save(row: Operation) -> Hook:
    """``torch.save``: told before the file is written."""
    return watched(row, lambda session, outcome: None, before_use, refusals=False)


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
