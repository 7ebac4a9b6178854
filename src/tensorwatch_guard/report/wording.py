"""The words and figures of the reports: what a kind is called, how bytes, times and rates are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ..places import place

if TYPE_CHECKING:
    from ..words import Finding

KIND_WORDS: Final[dict[str, str]] = {
    "read": "host read",
    "sync": "host waits",
    "transfer": "copy",
    "alias": "same memory",
    "mutation": "written later",
    "hazard": "broken",
    "refusal": "could not convert",
}
DIRECTION_WORDS: Final[dict[str, str]] = {
    "h2d": "copy to device",
    "d2h": "copy to host",
    "d2d": "copy between devices",
}
WRITER_WORDS: Final[dict[str, str]] = {"numpy": "NumPy", "torch": "PyTorch", "unknown": "somebody"}
_WORD: Final = re.compile(r"[a-z]{2,}[ ,:;]")
_SEVERITY_PLURALS: Final[dict[str, str]] = {"critical": "critical"}


def what(finding: Finding) -> str:
    """What happened, in two or three words."""
    if len(finding.directions) > 1:
        return "copies both ways"
    if finding.kind == "transfer":
        return DIRECTION_WORDS.get(str(finding.details.get("direction")), KIND_WORDS["transfer"])
    return KIND_WORDS[finding.kind]


def number(value: int) -> str:
    """A count with thousands marked."""
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """``3 waits``, ``1 wait``."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def times(value: int) -> str:
    """How often, in words for small counts."""
    return {1: "once", 2: "twice"}.get(value, f"{number(value)} times")


def watched_share(alias: Finding) -> str:
    """How many aliases of a busy line were watched for writes; nothing where all were."""
    unwatched = int(alias.details.get("unwatched", 0) or 0)
    return f" ({number(max(alias.count - unwatched, 0))} of them watched)" if unwatched else ""


def size(nbytes: float) -> str:
    """Bytes in binary units, three significant digits at most; ``-`` for none."""
    if not nbytes:
        return "-"
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 999.5 or unit == "TiB":
            break
        value /= 1024
    text = f"{value:.0f}" if unit == "B" or value >= 99.95 else f"{value:.1f}"
    return f"{text} {unit}"


def seconds(value: float) -> str:
    """A time in the unit that suits it; ``-`` for none."""
    if not value:
        return "-"
    if value < 0.000_999_5:
        return f"{value * 1e6:.0f} us"
    if value < 0.995:
        return f"{value * 1e3:.{1 if value < 0.009_95 else 0}f} ms"
    if value < 99.5:
        return f"{value:.{2 if value < 9.95 else 1}f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def rate(per_step: float) -> str:
    """Happenings a step; ``-`` where there are none."""
    if not per_step:
        return "-"
    if per_step < 0.01:
        return "<0.01"
    return f"{per_step:.2f}" if per_step < 100 else f"{per_step:,.0f}"


def origin(finding: Finding) -> str:
    """The library line that made the call, where it is not the user's own; empty otherwise."""
    if finding.origin is None:
        return ""
    return f"called by {place(finding.origin)}"


def steps(finding: Finding) -> str:
    """The steps it happened in; empty where no steps were seen."""
    if finding.last_step <= 0:
        return ""
    if finding.first_step == finding.last_step:
        return f"step {number(finding.first_step)}"
    return f"steps {number(finding.first_step)} to {number(finding.last_step)}"


def severity_count(count: int, severity: str) -> str:
    """``2 warnings``."""
    return plural(count, severity, _SEVERITY_PLURALS.get(severity))


def sentence(text: str) -> str:
    """The first letter large unless it begins a name, a full stop at the end unless code ends there."""
    if _WORD.match(text):
        text = text[:1].upper() + text[1:]
    return text + ("" if text.endswith((".", "!", "?", ")")) else ".")
