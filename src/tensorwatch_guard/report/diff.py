"""What changed between two reports, finding by finding, and whether that is to fail a run.

Findings are matched by ``id`` (file, function, source text, origin), so that moved lines change nothing. How often is
compared a step where that says something, in counts otherwise: runs of different length can be held against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from ..places import place
from ..words import SEVERITIES, Finding, Severity
from .terminal import Style
from .wording import number, plural, rate, what

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .model import Report

Sort = Literal["new", "gone", "more", "less"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
_RARE: Final = 0.05
"""Below this many a step a rate says less than a count: once at the end is once in a run of any length."""
_NOISE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Change:
    """One finding in both reports, as it was and as it is."""

    before: Finding
    after: Finding


@dataclass(frozen=True, slots=True)
class Difference:
    """``new`` and ``gone`` hold findings, ``more`` and ``less`` pairs; what did not change is only counted."""

    new: tuple[Finding, ...] = ()
    gone: tuple[Finding, ...] = ()
    more: tuple[Change, ...] = ()
    less: tuple[Change, ...] = ()
    same: int = 0

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.more or self.less)

    def failing(self, on: Iterable[Sort], least: Severity = "warning") -> tuple[Finding, ...]:
        """The findings that are to fail a run.

        Args:
            on: Sorts of change that fail, such as ``("new", "more")``.
            least: The weight from which a finding counts. Notes are nothing to mend, so by default they fail nothing.
        """
        groups: dict[Sort, tuple[Finding, ...]] = {
            "new": self.new,
            "gone": self.gone,
            "more": tuple(change.after for change in self.more),
            "less": tuple(change.after for change in self.less),
        }
        bar = SEVERITIES.index(least)
        return tuple(
            finding
            for sort in SORTS
            if sort in set(on)
            for finding in groups[sort]
            if SEVERITIES.index(finding.severity) >= bar
        )

    def text(self, style: Style | None = None) -> str:
        """The difference for people."""
        return render_difference(self, style or Style())

    def __str__(self) -> str:
        return self.text()


def fail_on(text: str) -> tuple[Sort, ...]:
    """The sorts named by ``--fail-on new,more``.

    Raises:
        ValueError: If a word is no sort of change; the message lists the good ones.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in SORTS:
            raise ValueError(f"--fail-on {text!r}: {word!r} is not one of {', '.join(SORTS)}")
    return cast("tuple[Sort, ...]", tuple(words))


def difference(before: Report, after: Report) -> Difference:
    """What changed from one report to a later one. What is allowed in a report does not count as being there."""
    old = {finding.id: finding for finding in before.findings if finding.allowed is None}
    new = {finding.id: finding for finding in after.findings if finding.allowed is None}
    rated = bool(before.run.steps and after.run.steps)
    more: list[Change] = []
    less: list[Change] = []
    for key in old.keys() & new.keys():
        change = Change(old[key], new[key])
        sign = _sign(*change_measure(change, rated))
        if sign:
            (more if sign > 0 else less).append(change)
    return Difference(
        _sorted(finding for key, finding in new.items() if key not in old),
        _sorted(finding for key, finding in old.items() if key not in new),
        tuple(sorted(more, key=lambda change: _order(change.after))),
        tuple(sorted(less, key=lambda change: _order(change.after))),
        len(old.keys() & new.keys()) - len(more) - len(less),
    )


def change_measure(change: Change, rated: bool) -> tuple[float, float]:
    """How often, before and after: a step where both runs have steps and it happens often, else in the whole run."""
    before, after = change.before, change.after
    if rated and max(before.per_step, after.per_step) >= _RARE and before.count != after.count:
        return before.per_step, after.per_step
    return float(before.count), float(after.count)


def _sign(before: float, after: float) -> int:
    if abs(after - before) <= _NOISE * max(before, after):
        return 0
    return 1 if after > before else -1


def _order(finding: Finding) -> tuple[int, int, str]:
    return -SEVERITIES.index(finding.severity), -finding.count, place(finding.site)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=_order))


def render_difference(found: Difference, style: Style) -> str:
    """One line a finding: ``+`` new, ``-`` gone, ``^`` more, ``v`` less; the sums first."""
    if not found:
        return f"no difference ({plural(found.same, 'finding')} in both)"
    counts = [f"{len(group)} {sort}" for sort in SORTS if (group := getattr(found, sort))]
    lines = [f"{', '.join(counts)}, {number(found.same)} unchanged"]
    for sort, sign in (("new", "+"), ("more", "^"), ("less", "v"), ("gone", "-")):
        for entry in getattr(found, sort):
            finding, often = (
                (entry.after, _from_to(entry)) if isinstance(entry, Change) else (entry, _often(entry))
            )
            text = " ".join((finding.site.source or "").split()) if finding.site else ""
            head = f"{place(finding.site)}  {what(finding)}: {finding.op}, {often}"
            lead = f"{sign} {_padded(finding, style)} {finding.rule}  "
            lines += style.wrap(f"{head}  {text}".rstrip(), lead, " " * 19)
    return "\n".join(lines)


def _padded(finding: Finding, style: Style) -> str:
    return style.paint(finding.severity, finding.severity) + " " * (8 - len(finding.severity))


def _often(finding: Finding) -> str:
    per_step = f", {rate(finding.per_step)} a step" if finding.per_step else ""
    return f"{number(finding.count)}x{per_step}"


def _from_to(change: Change) -> str:
    before, after = change_measure(change, bool(change.before.per_step and change.after.per_step))
    if (before, after) == (change.before.count, change.after.count):
        return f"{number(change.before.count)}x -> {number(change.after.count)}x"
    return f"{rate(before)} -> {rate(after)} a step"
