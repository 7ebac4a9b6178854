"""What is to be done about each kind and direction: the levels and limits of a config, ready to be asked at each event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..words import DIRECTIONS, KINDS, Direction, Kind
from .budget import Budget

if TYPE_CHECKING:
    from ..levels import Setting
    from ..options import Config


class Act(NamedTuple):
    """What is to be done about a kind. ``label``: how the user wrote it."""

    setting: Setting
    label: str
    budget: Budget | None

    def reason(self, kind: Kind, how_many: int, step: int, *, stopped: bool) -> str:
        """Which level or limit was broken, in words."""
        copies = "; a copy that blocks is a wait, too" if kind == "transfer" and self.label == "sync" else ""
        note = " (stopped before it ran)" if stopped else ""
        if self.budget is None:
            return f'{self.label}="{self.setting}" in this guard{note}'
        limit = self.budget.limit
        if limit.n == 0:
            return f"{self.label}={self.budget}: none is let pass{note}{copies}"
        scope = {"run": "in this run", "site": "at this place", "step": f"in step {step}"}[limit.per]
        return f"{self.label}={self.budget}: this is number {how_many} {scope}{note}{copies}"


_RECORDS: Final = frozenset({"off", "log"})
_NAMED: Final = (*KINDS, *DIRECTIONS)
Key = tuple[Kind, Direction | None]


def acts_of(config: Config) -> dict[Key, Act]:
    """The kinds and directions that ask for more than a record, and what they ask for."""
    acts: dict[Key, Act] = {}
    if config.level.level in _RECORDS and config.level.limit is None and not any(getattr(config, name) for name in _NAMED):
        return acts  # of most guards, and of thousands that are opened one in another
    budgets: dict[str, Budget] = {}
    for kind in KINDS:
        for direction in DIRECTIONS if kind == "transfer" else (None,):
            setting = config.setting(kind, direction)
            if setting.level not in ("warn", "error"):
                continue
            label = next((name for name in (direction, kind) if name and getattr(config, name) is not None), "level")
            budget = budgets.setdefault(label, Budget(setting.limit)) if setting.limit is not None else None
            acts[kind, direction] = Act(setting, label, budget)
    return acts
