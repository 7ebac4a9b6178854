"""Whether an interval and a line that was named tell one write: then the interval gives way, for one bug is told once."""

from __future__ import annotations

from .collector import Tally


def one_story(line: Tally, interval: Tally) -> bool:
    """Whether one writer can have done both, and the line lies in the interval."""
    writers = {line.details.get("writer"), interval.details.get("writer")} - {"unknown"}
    return len(writers) <= 1 and _holds(interval, line)


def same_memory(line: Tally, interval: Tally) -> bool:
    """Whether both are of memory handed out at one place, and of one kind: a state dict hands out several at one place."""
    if not line.memory & interval.memory:
        return False
    return bool({link.trail.key for link in line.links.values()} & {link.trail.key for link in interval.links.values()})


def _line_of(tally: Tally) -> tuple[str, int] | None:
    site = tally.trail.site
    return (site.file, site.line) if site is not None else None


def _holds(interval: Tally, line: Tally) -> bool:
    """Whether a line lies between the ends; where a loop turned or a function was left, every line does."""
    if interval.extra is not None and interval.extra.inside:
        return _line_of(line) == _line_of(interval)
    first, last, at = interval.extra.site if interval.extra else None, interval.trail.site, line.trail.site
    if first is None or last is None or at is None or first.function != last.function or first.line >= last.line:
        return True
    return at.function != first.function or first.line <= at.line <= (last.end_line or last.line)
