"""The two things a guard can throw at its user: an exception and a warning. Imports nothing but words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..report.model import Report
    from ..words import Finding


class GuardViolation(AssertionError):  # noqa: N818  # it is no error in the program's text, it breaks a rule that was set
    """A level or a limit of a guard was broken.

    Attributes:
        findings: what broke it.
        reasons: which level, limit or baseline each of them broke, in words.
        report: all that the guard has seen; of the whole block once the block was left. None in another process.
    """

    def __init__(
        self,
        message: str,
        findings: Sequence[Finding] = (),
        report: Report | None = None,
        reasons: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.findings = tuple(findings)
        self.reasons = tuple(reasons)
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        """Process pools send exceptions home: the message and the findings go, the report stays."""
        return (type(self), (str(self), self.findings, None, self.reasons))


class TensorWatchWarning(UserWarning):
    """A kind that is set to "warn" happened. Shown at the user's line, once a place."""


for _public in (GuardViolation, TensorWatchWarning):
    _public.__module__ = "tensorwatch_guard"  # what tracebacks show, and what -W and filterwarnings are given
