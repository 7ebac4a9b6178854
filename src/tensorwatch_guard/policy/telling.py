"""Warnings and log records: one channel an event, at the user's line, once a place and then at powers of ten."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, Final

from ..places import whereabouts
from .message import line_text
from .violation import TensorWatchWarning

if TYPE_CHECKING:
    from ..words import Finding

LOGGER: Final = logging.getLogger("tensorwatch_guard")
MILESTONES: Final = frozenset(10**power for power in range(15))

_registries: dict[str, dict[str | tuple[str, type[Warning], int], int]] = {}


def warn(finding: Finding) -> None:
    """A warning at the user's line. The filters decide what becomes of it; the user's own registries are not touched.

    Raises:
        TensorWatchWarning: where a filter turns it into an error.
    """
    file, line = _line(finding)
    registry: Any = _registries.setdefault(file, {})
    warnings.warn_explicit(TensorWatchWarning(line_text(finding)), TensorWatchWarning, file, line, registry=registry)


def _line(finding: Finding) -> tuple[str, int]:
    """The user's line; for a write outside it, the line after which it was."""
    if finding.site is not None:
        return finding.site.file, finding.site.line
    ends = (end for end in finding.details.get("between") or () if end)
    return next(((end["file"], end["line"]) for end in ends), ("<outside your code>", 1))


def log(finding: Finding) -> None:
    """A record at INFO, which nobody sees who has not asked for it."""
    often = "" if finding.count == 1 else f" ({finding.count} times by now)"
    _record(logging.INFO, finding, f"{whereabouts(finding)}: {line_text(finding)}{often}")


def alarm(finding: Finding) -> None:
    """A hazard, told at once. Without any logging set up, Python itself shows it on stderr as one line."""
    _record(logging.ERROR, finding, f"tensorwatch_guard: {whereabouts(finding)}: {line_text(finding)}")


def _record(level: int, finding: Finding, text: str) -> None:
    site = finding.site
    extra = {
        "finding": finding,
        "kind": finding.kind,
        "op": finding.op,
        "rule": finding.rule,
        "site_file": site.file if site is not None else None,
        "site_line": site.line if site is not None else None,
        "count": finding.count,
    }
    LOGGER.log(level, "%s", text, extra=extra)


def logs() -> bool:
    """Whether anybody asked for the records of ordinary events: of this logger, for a program's own log is its own."""
    return LOGGER.level != logging.NOTSET and LOGGER.isEnabledFor(logging.INFO)
