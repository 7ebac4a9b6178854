"""The gate: asked before each watched call while some guard may have to stop one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..collector import Tally
from ..current import LOCAL
from .foresee import Foreseen, foresee

if TYPE_CHECKING:
    from ..collector import Shard
    from ..session import Session
    from .heed import Policy


def gate(session: Session, call: Any) -> None:
    """Foresee what a call will do, and object for each guard whose level or limit it would break.

    Args:
        session: the live session.
        call: a watched call that has not run: ``row``, ``subject``, ``args``, ``kwargs``, ``method``, ``trail``.
    """
    here = LOCAL.here
    if here.generation != session.generation:
        session.refresh(here)
    foreseen: tuple[Foreseen, ...] | None = None
    for shard, collector in here.shards:
        policy = collector.policy
        if policy is None or not policy.stops or not policy.may_raise():
            continue
        if foreseen is None:
            foreseen = _foreseen(session, call)
        for event in foreseen:
            _ask(session, policy, shard, call, event)


def _foreseen(session: Session, call: Any) -> tuple[Foreseen, ...]:
    try:
        return foresee(call, session.device_suffix)
    except Exception:  # arguments that PyTorch itself will refuse: its exception is the user's
        return ()


def _ask(session: Session, policy: Policy, shard: Shard, call: Any, event: Foreseen) -> None:
    row, at = call.row, call.trail
    reason = policy.one_more(event.kind, event.direction, row.implicit, event.blocking, at)
    if reason is None:
        return
    grant = session.grants.get() if session.grants is not None else None
    full = (event.kind, row.name, at.key, event.direction, grant)
    tally = shard.get(full)
    new = tally is None
    if tally is None:
        tally = Tally(event.kind, row.name, at, session.steps.now)
        tally.implicit, tally.grant, tally.details = row.implicit, grant, dict(event.details)
    tally.count += 1  # as it will be when it has happened
    if policy.passes(tally, event.direction):
        tally.count -= 1
        return
    if new:
        tally = _kept(policy, shard, full, tally)
    tally.at_steps += 1
    tally.last_step = session.steps.now
    tally.nbytes += event.nbytes
    tally.blocking += event.blocking
    policy.object(tally, reason)


def _kept(policy: Policy, shard: Shard, full: Any, draft: Tally) -> Tally:
    """The stopped call becomes a finding, too: the report must say what was objected to."""
    tally = policy.collector.open(shard, full, draft.kind, draft.op, draft.trail, draft.first_step)
    tally.count += 1
    tally.implicit, tally.grant = draft.implicit, draft.grant
    tally.details = tally.details or draft.details
    return tally
