"""How a place is written, and a stretch of time between two: in messages while a program runs, and in reports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .words import Site

if TYPE_CHECKING:
    from .words import Finding


def path(file: str) -> str:
    """A file as one would type it: relative where it lies below the working folder, below site-packages, or whole."""
    try:
        here = os.getcwd()
    except OSError:  # the folder was removed
        return file
    if file.startswith(os.path.join(here, "")):
        return os.path.relpath(file, here)
    for folder in ("site-packages", "dist-packages"):
        head, found, tail = file.rpartition(f"{os.sep}{folder}{os.sep}")
        if found and head:
            return tail
    return file


def place(site: Site | None, *, function: bool = True) -> str:
    """``train.py:88 in fit``; without a user's frame, words that say so."""
    if site is None:
        return "outside your code"
    where = f"{path(site.file)}:{site.line}"
    name = site.function.replace(".<locals>", "")
    return f"{where} in {name}" if function and name and name != "<module>" else where


def as_site(value: Any) -> Site | None:
    """A site from what ``details`` hold: a ``Site``, or the object of a loaded file."""
    if isinstance(value, Site) or value is None:
        return value
    if isinstance(value, Mapping) and "file" in value and "line" in value:
        known = {name: value[name] for name in Site.__slots__ if name in value}
        return Site(**known)
    return None


class Interval(NamedTuple):
    """In time, from the first end to the last. ``since``: the last look before it, where a loop turned in between."""

    first: Site | None
    last: Site | None
    since: Site | None = None


def interval(finding: Finding) -> Interval | None:
    """The two ends in time of an inexact mutation; None where its line is known: exact, or in the course of one call."""
    if finding.kind != "mutation" or finding.details.get("exact") or finding.details.get("inside"):
        return None
    ends = finding.details.get("between")
    if isinstance(ends, list | tuple) and len(ends) == 2:
        return Interval(as_site(ends[0]), as_site(ends[1]), as_site(finding.details.get("since")))
    return Interval(None, finding.site)


def when(ends: Interval) -> str:
    """``between train.py:22 and line 25``; None stands for the guard's own start or end."""
    first, last, since = ends
    if first is None and last is None:
        return "at some time of the run"
    if first is None:
        return f"before {place(last, function=False)}"
    if last is None:
        return f"after {place(first, function=False)}"
    if since is not None:
        if since == last:
            return f"after {place(since, function=False)}"
        return f"between {place(since, function=False)} and {_end(since, last)}, with turns of a loop in between"
    if (first.file, first.line) == (last.file, last.line):
        return f"between two passes of {place(first, function=False)}"
    if first.file == last.file and first.line > last.line:  # a loop has turned, or somebody was called
        return f"after {place(first, function=False)}, before {_end(first, last)} came next"
    return f"between {place(first, function=False)} and {_end(first, last)}"


def _end(first: Site, last: Site) -> str:
    return f"line {last.line}" if first.file == last.file else place(last, function=False)


def whereabouts(finding: Finding) -> str:
    """Where it happened: the line, or the two lines between which it must have happened."""
    ends = interval(finding)
    return when(ends) if ends is not None else place(finding.site)
