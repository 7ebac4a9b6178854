"""Baselines: what is known and let pass, kept in a file that belongs into the repository.

Known findings pass, new ones and increases fail, vanished ones are named. Findings are matched by ``id`` (file,
function, source text, origin), so that moved lines change nothing. One finding a line, sorted: a change reads well as a
diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal

from ..levels import ConfigError
from ..sites import portable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..report.model import Report
    from ..words import Finding

Per = Literal["run", "test"]
"""What counts are of: of a whole run, or the most that any one test had."""

SCHEMA: Final = "tensorwatch-guard-baseline/1"
KINDS: Final = frozenset({"sync", "transfer", "mutation", "hazard"})
"""Kept whatever they weigh: what is a note today (once in a while) may be a warning tomorrow."""
_SAMPLED: Final = 2
"""How many writes are seen is up to how often there was time to look: the same run again sees a few more or less."""
_MORE: Final = 1.01
"""A rate that is this much higher is an increase; runs of different length never agree to the last digit."""


class BaselineError(ConfigError):
    """A baseline that cannot be read or written. The message is one line and names the file."""


@dataclass(frozen=True, slots=True)
class Known:
    """One finding that is let pass, up to so many."""

    id: str
    kind: str
    op: str
    rule: str
    where: str
    source: str
    count: int
    per_step: float = 0.0

    def __str__(self) -> str:
        return f"{self.op} at {self.where}: {self.source}" if self.source else f"{self.op} at {self.where}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is new, more and gone against a baseline. ``new`` and ``more`` hold only what is to fail."""

    path: str
    new: tuple[Finding, ...] = ()
    more: tuple[tuple[Known, Finding], ...] = ()
    gone: tuple[Known, ...] = ()
    same: int = 0

    @property
    def failed(self) -> bool:
        """Whether anything is new or more."""
        return bool(self.new or self.more)

    def reasons(self) -> Iterator[tuple[Finding, str]]:
        """The findings that fail, and why."""
        name = os.path.basename(self.path)
        for finding in self.new:
            yield finding, f"new: {name} does not know it"
        for known, finding in self.more:
            now, then = _often(finding.count, finding.per_step), _often(known.count, known.per_step)
            yield finding, f"more: {now}, {name} lets {then} pass"

    def __str__(self) -> str:
        lines = [f"{len(self.new)} new, {len(self.more)} more, {len(self.gone)} gone, {self.same} as in {self.path}"]
        lines += [f"+ {entry(finding)} ({finding.count}x)" for finding in self.new]
        lines += [f"^ {known} ({known.count}x -> {finding.count}x)" for known, finding in self.more]
        lines += [f"- {known}" for known in self.gone]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline as it was read."""

    path: str
    per: Per = "run"
    known: Mapping[str, Known] = field(default_factory=dict)

    def knows(self, finding: Finding) -> bool:
        """Whether it is let pass, however often."""
        return key_of(finding) in self.known

    def compare(self, report: Report, bites: Callable[[Finding], bool] | None = None) -> Comparison:
        """Hold a report against it.

        Args:
            report: what a run, or one test, has found.
            bites: whether a new or increased finding is to fail; by default, those that are a warning or worse.
        """
        now = pooled(report.findings, bites)
        new = tuple(finding for key, finding in now.items() if key not in self.known and _fails(finding, bites))
        both = [(self.known[key], finding) for key, finding in now.items() if key in self.known]
        more = tuple((k, f) for k, f in both if self._is_more(k, f) and _fails(f, bites))
        gone = tuple(known for key, known in self.known.items() if key not in now)
        return Comparison(self.path, new, more, gone, len(both) - len(more))

    def _is_more(self, known: Known, finding: Finding) -> bool:
        sampled = self.per == "run" and finding.kind in ("mutation", "hazard")
        if finding.count <= known.count * (_SAMPLED if sampled else 1):
            return False
        rates = self.per == "run" and known.per_step and finding.per_step
        return not rates or finding.per_step > known.per_step * (_SAMPLED if sampled else _MORE)


def key_of(finding: Finding) -> str:
    """What a finding is matched by: its id; a write by the sharing it wrote through.

    Whether the line of a write is named depends on how often it happened while somebody looked. That the memory is
    written does not.
    """
    shared = sorted(other.id for other in finding.related if other.role == "shared-by")
    if finding.kind != "mutation" or not shared:
        return finding.id
    return blake2b(" ".join(("mutation", *shared)).encode(), digest_size=8).hexdigest()


def load(path: str | os.PathLike[str], per: Per = "run") -> Baseline:
    """Read a baseline.

    Args:
        path: the file.
        per: what its counts have to be of.

    Raises:
        BaselineError: if there is none, it is broken, or it is of another schema or sort.
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8") as file:
            raw = json.load(file)
    except FileNotFoundError:
        raise BaselineError(f"there is no baseline {name}; make one with --{_flag(per)}update-baseline") from None
    except (OSError, ValueError) as error:
        raise BaselineError(f"the baseline {name} cannot be read: {error}") from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        said = f"its schema is {schema}" if isinstance(schema, str) else "it has no schema"
        again = f"write it anew with --{_flag(per)}update-baseline"
        raise BaselineError(f"{name} is no baseline of this version ({said}, {SCHEMA} is wanted); {again}")
    if raw.get("per") != per:
        made = "pytest" if raw.get("per") == "test" else "tensorwatch-guard run"
        raise BaselineError(f"the baseline {name} was made by {made}; its counts cannot be compared with a {per}'s")
    try:
        known = {entry["id"]: Known(**entry) for entry in raw["findings"]}
    except (KeyError, TypeError) as error:
        raise BaselineError(f"the baseline {name} is broken: {error}") from None
    return Baseline(name, per, known)


def write(report: Report, path: str | os.PathLike[str], bites: Callable[[Finding], bool] | None = None) -> int:
    """Make a baseline of what a run has found. Returns how many findings it holds.

    Raises:
        BaselineError: if the file cannot be written, or something else stands there.
    """
    known = [entry(finding) for finding in pooled(report.findings, bites).values()]
    save(known, path, "run")
    return len(known)


def entry(finding: Finding) -> Known:
    """A finding as a baseline keeps it."""
    where, source = _place(finding)
    return Known(
        key_of(finding),
        finding.kind,
        finding.op,
        finding.rule,
        where,
        source,
        finding.count,
        round(finding.per_step, 4),
    )


def _place(finding: Finding) -> tuple[str, str]:
    """File and function, and the source; for a write without a line, those of the line after which it was."""
    site = finding.site
    if site is not None:
        return f"{portable(site.file)} in {site.function or '<module>'}", " ".join((site.source or "").split())
    before = next((end for end in finding.details.get("between") or () if end), None)
    if before is None:
        return "outside your code", ""
    source = " ".join((before.get("source") or "").split())
    return f"{portable(before['file'])} in {before.get('function') or '<module>'}, afterwards", source


def save(known: Iterable[Known], path: str | os.PathLike[str], per: Per) -> None:
    """Write a baseline in one go: nobody ever sees half of it.

    Raises:
        BaselineError: if the file cannot be written, or something else stands there.
    """
    name = os.fspath(path)
    _only_over_a_baseline(name)
    rows = sorted(known, key=lambda one: (one.where, one.source, one.kind, one.id))
    lines = ",\n".join("  " + json.dumps({key: getattr(row, key) for key in _KEYS}) for row in rows)
    text = f'{{\n "schema": "{SCHEMA}",\n "per": "{per}",\n "findings": [\n{lines}\n ]\n}}\n'
    beside = f"{name}.{os.getpid()}.part"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, name)
    except OSError as error:
        raise BaselineError(f"the baseline {name} cannot be written: {error.strerror or error}") from None


_KEYS: Final = ("id", "kind", "op", "rule", "where", "source", "count", "per_step")


def _only_over_a_baseline(name: str) -> None:
    try:
        with open(name, encoding="utf-8") as file:
            head = file.read(200)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise BaselineError(f"the baseline {name} cannot be written over what stands there: {error}") from None
    if head.strip() and "tensorwatch-guard-baseline" not in head:
        raise BaselineError(f"{name} is something else than a baseline; name another file")


def pooled(findings: Iterable[Finding], bites: Callable[[Finding], bool] | None) -> dict[str, Finding]:
    """What a baseline speaks of: the kinds that cost or break something, and what a level asks for; nothing allowed."""
    kept: dict[str, Finding] = {}
    for finding in findings:
        guess = finding.kind == "hazard" and finding.details.get("certain") is False
        if finding.allowed is None and not guess and (finding.kind in KINDS or _fails(finding, bites)):
            known = kept.get(key_of(finding))
            kept[key_of(finding)] = finding if known is None else _together(known, finding)
    return kept


def _together(one: Finding, other: Finding) -> Finding:
    """The same expression in two code objects (a cell that ran twice), or two lines that write through one sharing."""
    told = other if other.details.get("exact") and not one.details.get("exact") else one
    return replace(told, count=one.count + other.count, per_step=one.per_step + other.per_step)


def _fails(finding: Finding, bites: Callable[[Finding], bool] | None) -> bool:
    return bites(finding) if bites is not None else finding.severity != "note"


def _often(count: int, per_step: float) -> str:
    return f"{count} times ({per_step:.2f} a step)" if per_step else f"{count} times"


def _flag(per: Per) -> str:
    return "tensorwatch-" if per == "test" else ""
