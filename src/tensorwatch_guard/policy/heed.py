"""What one guard's levels and limits make of each event: nothing, a log record, a warning, or a violation.

Events are judged when they are counted; what is to be said is said by ``settle`` after our own work is done. On another
thread than those that entered the guard, and in call-backs, nothing is raised: it waits for the guard's exit.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from ..current import LOCAL
from ..findings import finding_of
from ..sites import Trail, place_of
from ..words import DIRECTIONS, Direction, Finding, Kind
from . import telling
from .acts import Act, acts_of
from .allow import ENTRIES, bases
from .comments import allowed_at, comments_of
from .elsewhere import judged
from .message import violation_text
from .violation import GuardViolation, TensorWatchWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..collector import Collector, Tally
    from ..current import Here
    from ..options import Config
    from ..report.model import Report
    from ..session import Session
    from .baseline import Baseline

_LINKED: Final = frozenset({"mutation", "hazard"})
"""Kinds whose story is put together after the event was counted: they are told once our own work is done."""
_STOPPABLE: Final = frozenset({"read", "sync", "transfer"})
"""Kinds that are known before the call runs."""
_QUIET: Final = frozenset({"read", "alias"})
"""Kinds that are worth no report of their own."""


class Policy:
    """Levels and limits of one open guard, and what broke them."""

    def __init__(self, config: Config, collector: Collector, session: Session) -> None:
        self.config = config
        self.collector = collector
        self.session = session
        self.threads: dict[int, int] = {}
        self.baseline: Baseline | None = None
        self.records = False
        """A baseline is being made: nothing is raised."""
        self.report: Callable[[], Report] | None = None
        self.entered_at = next(ENTRIES)
        self.acts = acts_of(config)
        sync = self.acts.get(("sync", None))
        self._waits = sync if sync is not None and sync.budget is not None else None
        """The limit on waits, which blocking copies count against unless a level of their own was named for them."""
        self._own = frozenset(d for d in DIRECTIONS if getattr(config, d) or config.transfer)
        kinds = {kind for kind, _ in self.acts}
        self.stops = any(kind in _STOPPABLE and act.setting.level == "error" for (kind, _), act in self.acts.items())
        """Some call may have to be stopped before it runs."""
        self.listens = bool(kinds) or telling.logs()
        """It must hear of every event; else of hazards only."""
        self.strict = self.stops or "alias" in kinds or telling.logs()
        """Calls are to take the long way, in which policy can speak."""
        self.every_read = "read" in kinds or telling.logs()
        """So are reads of CPU tensors."""
        self.memory_strict = bool(kinds & {"mutation", "hazard"})
        """So are reads while memory is shared: they look at it."""
        self.over = False
        """The guard was left without an exception: what was never used can be told."""
        self.broken: dict[int, tuple[Tally, str]] = {}
        self.elsewhere: list[tuple[Finding, str]] = []
        """What child processes have broken; only their parts tell."""
        self._pending: set[int] = set()
        self._raised: set[str] = set()
        """Ids of findings that were raised already; the user has caught them."""
        self._later: list[tuple[str, Tally]] = []
        self._warned: set[object] = set()
        self._passes: dict[object, tuple[bool, Trail]] = {}
        """By place; the trail keeps the code alive whose id is part of its key."""
        self._warning: TensorWatchWarning | None = None

    # -- hearing -------------------------------------------------------------------------------------------------------

    def heed(self, tally: Tally, blocking: bool = False) -> None:
        """An event was counted."""
        direction = tally.direction
        act = self.acts.get((tally.kind, direction))
        waits = self.waits_too(direction, blocking=blocking)
        if act is None and waits is None:
            self._tell(tally)
        elif self._awake():
            self._judge(tally, direction, act, waits)

    def waits_too(self, direction: Direction | None, *, blocking: bool) -> Act | None:
        """The limit on waits that a copy which blocks counts against, unless copies have a say of their own."""
        return self._waits if blocking and direction is not None and direction not in self._own else None

    def _awake(self) -> bool:
        return self.session.steps.now - self.collector.first >= self.config.after

    def _judge(self, tally: Tally, direction: Direction | None, act: Act | None, waits: Act | None) -> None:
        if (tally.kind == "hazard" and not tally.details.get("certain", True)) or self.passes(tally, direction):
            return
        for one in (act, waits):
            if one is None or (one.setting.implicit_only and not tally.implicit):
                continue
            if one.setting.level == "warn":
                self._say("warn", tally)
            elif one.budget is None:
                self.object(tally, one.reason(tally.kind, tally.count, 0, stopped=False))
            else:
                step = self.session.steps.now
                how_many = one.budget.spend(place_of(tally.trail), step)
                if how_many > one.budget.limit.n:
                    self.object(tally, one.reason(tally.kind, how_many, step - self.collector.first, stopped=False))

    def one_more(
        self, kind: Kind, direction: Direction | None, implicit: bool, blocking: bool, at: Trail
    ) -> str | None:
        """Which level or limit one more such event would break; None where it may happen. Spends nothing."""
        if self.records or not self._awake():
            return None
        waits = self.waits_too(direction, blocking=blocking)
        step = self.session.steps.now
        for act in (self.acts.get((kind, direction)), waits):
            if act is None or act.setting.level != "error" or (act.setting.implicit_only and not implicit):
                continue
            spent = act.budget.spent(place_of(at), step) if act.budget is not None else 0
            if act.budget is None or spent >= act.budget.limit.n:
                return act.reason(kind, spent + 1, step - self.collector.first, stopped=True)
        return None

    # -- what is let pass ----------------------------------------------------------------------------------------------

    def passes(self, tally: Tally, direction: Direction | None) -> bool:
        """Whether an allowance, a comment, the baseline or a rule of the user's own lets it pass."""
        if tally.grant is not None:
            base = tally.grant.covering(tally.kind, direction)
            if base is not None and (not base.first_only or tally.count <= 1):
                return True
        between = tally.details.get("between")
        key = (tally.kind, tally.op, tally.trail.key, between[0].key if between else direction)
        known = self._passes.get(key)
        if known is None or (self.config.ignore is not None and tally.count in telling.MILESTONES):
            known = self._passes[key] = self._looked_up(tally), tally.trail
        return known[0]

    def _looked_up(self, tally: Tally) -> bool:
        if allowed_at(tally.trail.site, tally) is not None:
            return True
        if tally.kind in _LINKED or (self.baseline is None and self.config.ignore is None):
            return False  # of linked kinds neither the id nor the finding is whole yet
        finding = self.finding(tally)
        return finding is None or self.lets_pass(finding)

    def lets_pass(self, finding: Finding) -> bool:
        """Whether the baseline knows it (its comparison says up to how many), or the user's rule takes it."""
        known = self.baseline is not None and self.baseline.knows(finding)
        return known or ignored(self.session, self.config, finding)

    def finding_in(self, by_id: Mapping[str, Finding], tally: Tally) -> Finding | None:
        """The finding of a report that a tally is part of; the tally's own where it is in none."""
        told = tally.into or tally
        found = by_id.get(told.id)
        return found if found is not None and len(found.directions) < 2 else self.finding(tally)

    def finding(self, tally: Tally) -> Finding | None:
        """The finding that a tally is so far."""
        steps = self.session.steps.now - self.collector.first
        return finding_of(tally.into or tally, self.collector, steps)

    # -- speaking ------------------------------------------------------------------------------------------------------

    def _tell(self, tally: Tally) -> None:
        """No level asks for more than a record of it."""
        if tally.count not in telling.MILESTONES:
            return
        if tally.kind == "hazard" and tally.details.get("certain", True):
            if tally.count == 1 and not self.passes(tally, None):
                self._say("alarm", tally)
        elif telling.logs():
            self._say("log", tally)

    def _say(self, how: str, tally: Tally) -> None:
        if how == "warn":
            place = (tally.kind, tally.op, tally.trail.key, tally.extra and tally.extra.key)
            if place in self._warned:
                return
            self._warned.add(place)
        here = LOCAL.here
        if here.busy:
            here.due.append((self, how, tally))
        elif tally.kind in _LINKED:
            self._later.append((how, tally))
        else:
            self.say_now(how, tally)

    def say_now(self, how: str, tally: Tally) -> None:
        """Warn or log. What a filter makes of a warning is kept for the guard's exit where it cannot be raised."""
        try:
            self.say(how, tally)
        except TensorWatchWarning as warning:
            self._warning = self._warning or warning

    def say(self, how: str, tally: Tally) -> None:
        """Warn or log, and let a filter raise."""
        here = LOCAL.here
        busy, here.busy = here.busy, True
        try:
            finding = self.finding(tally)
            if finding is not None and finding.allowed is None and not (how == "warn" and self.lets_pass(finding)):
                getattr(telling, how)(finding)
        finally:
            here.busy = busy

    def object(self, tally: Tally, reason: str) -> None:
        """A level or a limit is broken: raise once our work is done, or at the guard's exit."""
        if self.records:
            return
        self.broken.setdefault(id(tally), (tally, reason))
        here = LOCAL.here
        if here.busy and self.may_raise():
            here.due.append((self, "raise", tally))
        else:
            self._pending.add(id(tally))

    def enter(self) -> None:
        """This thread entered the guard: violations are raised in it."""
        me = threading.get_ident()
        self.threads[me] = self.threads.get(me, 0) + 1

    def leave(self) -> None:
        """This thread left it."""
        me = threading.get_ident()
        left = self.threads.get(me, 0) - 1
        if left > 0:
            self.threads[me] = left
        else:
            self.threads.pop(me, None)

    def may_raise(self) -> bool:
        """Only on threads that entered the guard, and never while a CUDA graph is captured: it would break."""
        return threading.get_ident() in self.threads and not _capturing()

    # -- the end -------------------------------------------------------------------------------------------------------

    def judge_elsewhere(self, findings: Iterable[Finding], own: Iterable[Finding]) -> None:
        """Hold what child processes saw against levels and limits."""
        self.elsewhere = judged(self, findings, own)

    def is_quiet(self) -> bool:
        """Whether a report would have nothing to tell: nothing but reads and sharing, and no allowance near them."""
        if self.broken or self._later or self._warning or self.baseline is not None or not self.over:
            return False
        if self.session.faults or self.collector.cut:
            return False
        for _, tally in self.collector.tallies():
            code = tally.trail.code
            if tally.kind not in _QUIET or (tally.kind, None) in self.acts or tally.grant is not None:
                return False
            if code is not None and comments_of(code.co_filename):
                return False
        return not any(base.entered > self.entered_at for base in bases())

    def bites(self, finding: Finding) -> bool:
        """Whether a finding that a baseline does not know is to fail: it is to be mended, or a level asks for it."""
        return finding.severity != "note" or any((finding.kind, way) in self.acts for way in finding.directions or (None,))

    def violation(self, report: Report, tallies: list[Tally] | None = None) -> GuardViolation | None:
        """The exception for what broke (``tallies``: some of it), with the findings as the report has them."""
        wanted = list(self.broken.values())
        if tallies is not None:
            wanted = [self.broken[id(tally)] for tally in tallies if id(tally) in self.broken]
        found: dict[str, tuple[Finding, str]] = {}
        by_id = {finding.id: finding for finding in reversed(report.findings) if finding.allowed is None}
        for tally, reason in wanted:
            finding = self.finding_in(by_id, tally)
            if finding is not None and not self.lets_pass(finding):
                found.setdefault(finding.id, (finding, reason))
        for finding, reason in self.elsewhere:
            found.setdefault(finding.id, (finding, reason))
        if self.baseline is not None and self.over:
            raised = set() if tallies is None else self._raised
            for finding, reason in self.baseline.compare(report, self.bites).reasons():
                if finding.id not in raised:
                    found.setdefault(finding.id, (finding, reason))
        if not found:
            return None
        if tallies is not None:
            self._raised |= found.keys()
        broken = list(found.values())
        findings, reasons = zip(*broken, strict=True)
        return GuardViolation(violation_text(broken), findings, report, reasons)

    def at_exit(self, report: Report, error: BaseException | None) -> Exception | None:
        """What is left to be raised when the guard is left. The user's own exception always wins."""
        try:
            return self._left_over(report, error)
        except Exception as fault:
            self.session.fault("policy", fault)
            return None

    def _left_over(self, report: Report, error: BaseException | None) -> Exception | None:
        self.threads.clear()
        later, self._later = self._later, []
        for how, tally in later:
            self.say_now(how, tally)
        if isinstance(error, GuardViolation) and error.report is not None:
            error.report = report
        if error is not None:
            return None
        pending = [self.broken[key][0] for key in self._pending]
        speaks = pending or self.elsewhere or self.baseline is not None
        violation = self.violation(report, pending) if speaks else None
        self._pending.clear()
        return violation or self._warning


def ignored(session: Session, config: Config, finding: Finding) -> bool:
    """Whether the user's own rule wants nothing to hear of a finding. A rule that raises ignores nothing."""
    if config.ignore is None:
        return False
    try:
        return bool(config.ignore(finding))
    except Exception as error:
        session.fault("ignore", error)
        return False


def _capturing() -> bool:
    import torch

    try:
        return torch.cuda.is_initialized() and bool(torch.cuda.is_current_stream_capturing())
    except (RuntimeError, AttributeError, AssertionError):
        return False


def settle(here: Here) -> Exception | None:
    """Say what is due in this thread. Returns what is to be raised: a violation, or a warning made an error."""
    due: list[tuple[Any, str, Tally]]
    due, here.due = here.due, []
    raised: Exception | None = None
    broken: dict[Policy, list[Tally]] = {}
    for policy, how, tally in due:
        if how == "raise":
            broken.setdefault(policy, []).append(tally)
            continue
        try:
            policy.say(how, tally)
        except TensorWatchWarning as warning:
            raised = raised or warning
    for policy, tallies in broken.items():  # the innermost guard stands last
        report = policy.report() if policy.report is not None else None
        if report is not None:
            raised = policy.violation(report, tallies) or raised
    return raised
