"""The source line of a site with the expression marked, as far as the file can still be read and is still the same."""

from __future__ import annotations

import linecache
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..words import Site

TAB = "    "


class Excerpt(NamedTuple):
    """One line of source without its indentation; ``start`` and ``end`` mark the expression, None where unknown."""

    text: str
    start: int | None
    end: int | None


def cells(text: str) -> int:
    """How many columns of a terminal the text fills: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def printable(text: str) -> str:
    """The text without control characters: source is shown, never obeyed (escape sequences, line ends)."""
    return "".join(char if char.isprintable() else "?" for char in text.replace("\t", TAB))


def excerpt(site: Site | None) -> Excerpt | None:
    """The line to show for a site.

    The file is read again, and believed only if the expression still stands where it stood; else the text kept in the
    report is shown, unmarked. None where there is neither.
    """
    if site is None:
        return None
    line = linecache.getline(site.file, site.line).rstrip()
    if site.source is None:
        return Excerpt(printable(line.strip()), None, None) if line.strip() else None
    if site.column is None and line.split() == site.source.split():  # the whole line is all that is known
        return Excerpt(printable(line.strip()), None, None)
    if site.column is None or site.end_column is None or not _still_there(line, site):
        return Excerpt(printable(" ".join(site.source.split())), None, None)
    end = site.end_column if site.end_line in {None, site.line} else len(line)
    head, marked = printable(line[: site.column].lstrip()), printable(line[site.column : end])
    return Excerpt(head + marked + printable(line[end:]), len(head), len(head) + len(marked))


def _still_there(line: str, site: Site) -> bool:
    shown = line[site.column : site.end_column if site.end_line in {None, site.line} else None].rstrip()
    return bool(shown) and (site.source or "").startswith(shown)


def listing(first: Site, last: Site, most: int = 8) -> list[tuple[int, str]]:
    """The numbered lines from one site to another below it in the same function; empty where that says nothing.

    Both ends must still stand in the file as they stood when the report was made.
    """
    if (first.file, first.function) != (last.file, last.function) or not 0 < last.line - first.line <= most:
        return []
    if not all(_unchanged(site) for site in (first, last)):
        return []
    numbers = range(first.line, (last.end_line or last.line) + 1)
    lines = [linecache.getline(first.file, number).rstrip().replace("\t", TAB) for number in numbers]
    margin = min(len(line) - len(line.lstrip()) for line in lines if line)
    return [(number, printable(line[margin:])) for number, line in zip(numbers, lines, strict=True) if line]


def _unchanged(site: Site) -> bool:
    line = linecache.getline(site.file, site.line).rstrip()
    if site.column is None or site.end_column is None:
        return bool(line) and line.strip() == (site.source or "").strip()
    return _still_there(line, site)


def cropped(found: Excerpt, width: int, dots: str = "...") -> Excerpt:
    """The excerpt in at most ``width`` columns, cut so that the marked expression stays in sight."""
    text, start, end = found
    if cells(text) <= width:
        return found
    if start is None or end is None:
        return Excerpt(_head(text, width, dots), None, None)
    if start > 0 and cells(text[:end]) > width:  # bring the expression to the left
        lead = min(start, 4)
        text, start, end = dots + text[start - lead :], len(dots) + lead, len(dots) + lead + end - start
    text = _head(text, width, dots)
    return Excerpt(text, start, max(start + 1, min(end, len(text))))


def _head(text: str, width: int, dots: str) -> str:
    if cells(text) <= width:
        return text
    kept = ""
    for char in text:
        if cells(kept + char) > width - len(dots):
            break
        kept += char
    return kept + dots


def carets(found: Excerpt, mark: str = "^") -> str | None:
    """The line below: marks under the expression. None where nothing is known, or where all of the line is marked."""
    if found.start is None or found.end is None:
        return None
    return " " * cells(found.text[: found.start]) + mark * max(1, cells(found.text[found.start : found.end]))
