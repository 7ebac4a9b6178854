"""The report itself: an immutable value that answers questions, prints, dumps and loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..rules import worst
from ..words import DIRECTIONS, KINDS, NOTHING, SEVERITIES, Finding, Frozen, RunInfo, Severity, Site

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from typing import TextIO

    from .diff import Difference


class ReportError(ValueError):
    """A report file that cannot be read or written. The message is one line and names the file."""


class ReportFileError(ReportError, OSError):
    """The file system said no: a missing file, a full disk, no permission."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the report says that is no finding: a stale allowance, a fault of the guard, a cut (rules 8xx and 9xx)."""

    rule: str
    text: str
    site: Site | None = None
    count: int = 1


def totals_of(findings: Iterable[Finding]) -> dict[str, Any]:
    """Sums over findings: calls by kind and direction, waiting calls, bytes moved, seconds blocked, calls allowed.

    ``blocking`` counts the calls in which the host waited: syncs and blocking transfers. Where only some calls of a
    finding waited, its ``details["blocking_calls"]`` says how many.
    """
    totals: dict[str, Any] = dict.fromkeys((*KINDS, *DIRECTIONS, "blocking", "allowed"), 0)
    totals |= {"bytes": 0, "blocked_s": 0.0}
    for finding in findings:
        totals[finding.kind] += finding.count
        if finding.kind == "transfer":
            for direction, count in finding.directions.items():
                if direction in DIRECTIONS:
                    totals[direction] += count
            totals["bytes"] += finding.bytes
        if finding.kind in {"sync", "transfer"}:
            totals["blocking"] += waits_of(finding)
            totals["blocked_s"] += finding.blocked_s
        if finding.allowed is not None:
            totals["allowed"] += finding.count
    return totals


def waits_of(finding: Finding) -> int:
    """In how many of its calls the host waited for a device."""
    if finding.kind not in {"sync", "transfer"} or not finding.blocking:
        return 0
    return int(finding.details.get("blocking_calls", finding.count))


@dataclass(frozen=True, slots=True)
class Report:
    """What a guard found.

    Attributes:
        run: What ran, where, for how long, and which layers watched.
        findings: All of them, in the order they were first seen.
        totals: Calls by kind and direction, ``blocking``, ``bytes``, ``blocked_s``, ``allowed``.
        blind_spots: What the layers in force could not see, one sentence each.
        notices: Stale allowances, faults of the guard itself, cuts.
        extra: Keys of a loaded file that this version does not know.
    """

    run: RunInfo
    findings: tuple[Finding, ...] = ()
    totals: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    blind_spots: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    notices: tuple[Notice, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "totals", Frozen(self.totals or totals_of(self.findings)))

    def __repr__(self) -> str:
        weights = [finding.severity for finding in self.findings if finding.allowed is None]
        found = ", ".join(f"{weights.count(one)} {one}" for one in reversed(SEVERITIES) if one in weights)
        return f"<Report of {self.run.steps} steps: {found or 'no findings'}; print() shows it>"

    # -- questions -----------------------------------------------------------------------------------------------------

    def find(
        self,
        *,
        kind: str | None = None,
        op: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> tuple[Finding, ...]:
        """Findings that fit all that is given.

        Args:
            kind: Such as ``"sync"``.
            op: The operation's name, such as ``"Tensor.item"``.
            file: A path, or the end of one: ``"train.py"`` fits ``/home/me/train.py``.
            line: A line of the site, from 1; multi-line expressions fit with each of their lines.
        """
        return tuple(
            finding
            for finding in self.findings
            if kind in {None, finding.kind} and op in {None, finding.op} and _at(finding.site, file, line)
        )

    def _of(self, kind: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.kind == kind)

    @property
    def reads(self) -> tuple[Finding, ...]:
        """Host reads of CPU tensors."""
        return self._of("read")

    @property
    def syncs(self) -> tuple[Finding, ...]:
        """Waits for a device."""
        return self._of("sync")

    @property
    def transfers(self) -> tuple[Finding, ...]:
        """Copies between devices."""
        return self._of("transfer")

    @property
    def aliases(self) -> tuple[Finding, ...]:
        """Memory that came to be shared."""
        return self._of("alias")

    @property
    def mutations(self) -> tuple[Finding, ...]:
        """Shared memory that was written later."""
        return self._of("mutation")

    @property
    def hazards(self) -> tuple[Finding, ...]:
        """What later writes and moved memory broke."""
        return self._of("hazard")

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Conversions that were refused."""
        return self._of("refusal")

    @property
    def worst(self) -> Severity | None:
        """The weightiest severity of what is not allowed; None where there is nothing."""
        return worst(finding.severity for finding in self.findings if finding.allowed is None)

    @property
    def clean(self) -> bool:
        """Nothing to mend: no warning or worse that is not allowed, and the guard itself did not fail."""
        from ..rules import BY_ID

        own = (BY_ID[notice.rule].severity for notice in self.notices if notice.rule in BY_ID)
        return self.worst in {None, "note"} and "warning" not in own

    def metrics(self, prefix: str = "tensorwatch/") -> dict[str, float]:
        """Figures for a logger such as TensorBoard or Weights & Biases: totals, and rates where steps were seen."""
        names = (*KINDS, *DIRECTIONS, "blocking", "bytes", "blocked_s", "allowed")
        values = {name: float(self.totals.get(name, 0)) for name in names}
        if self.run.steps:
            for name in ("read", "sync", "transfer", "blocking", "bytes", "blocked_s"):
                values[f"{name}_per_step"] = values[name] / self.run.steps
        values["findings"] = float(len(self.findings))
        values["overhead_s"] = self.run.overhead_s
        return {prefix + name: value for name, value in values.items()}

    # -- files and other reports -------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The report file's content, made of plain dicts, lists, strings and numbers."""
        from .schema import to_json

        return to_json(self)

    def dump(self, path: str | os.PathLike[str]) -> None:
        """Write the report file in one go: a reader never sees half of it.

        Raises:
            ReportError: If the file cannot be written.
        """
        from .schema import dump

        dump(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Read a report file.

        Raises:
            ReportError: If the file is missing, broken, or no report of a schema this version knows.
        """
        from .schema import load

        return load(path)

    def merge(self, *others: Report) -> Report:
        """This report and others as one, as :func:`tensorwatch_guard.report.merge.merge` does it."""
        from .merge import merge

        return merge((self, *others))

    def diff(self, other: Report) -> Difference:
        """What changed from this report to a later one."""
        from .diff import difference

        return difference(self, other)

    # -- for people ----------------------------------------------------------------------------------------------------

    def text(self, *, width: int | None = None, verbose: bool = False) -> str:
        """The report for people, without colour, ``width`` columns wide (80)."""
        from .terminal import Style
        from .text import render_text

        return render_text(self, Style(width=width or 80), verbose=verbose)

    def print(self, stream: TextIO | None = None, *, verbose: bool = False) -> None:
        """Print the report to a stream (standard error), in the colours, width and characters that it can show."""
        import sys

        from .terminal import style_of
        from .text import render_text

        stream = stream or sys.stderr
        style = style_of(stream)
        stream.write(style.fit(render_text(self, style, verbose=verbose)) + "\n")

    def __str__(self) -> str:
        import sys

        from .terminal import plain_style
        from .text import render_text

        style = plain_style(sys.stdout)
        return style.fit(render_text(self, style))

    def _repr_html_(self) -> str:
        from .html import fragment

        return fragment(self)


def _at(site: Site | None, file: str | None, line: int | None) -> bool:
    if file is None and line is None:
        return True
    if site is None:
        return False
    if line is not None and not site.line <= line <= (site.end_line or site.line):
        return False
    if file is None:
        return True
    shown, asked = site.file.replace("\\", "/"), file.replace("\\", "/")
    return shown == asked or shown.endswith("/" + asked.removeprefix("./"))
