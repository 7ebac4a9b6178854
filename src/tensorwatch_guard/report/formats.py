"""The formats a report can be shown in, by name: adding one is adding a row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .model import ReportError
from .schema import to_json
from .terminal import Style

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import Report


@dataclass(frozen=True, slots=True)
class Format:
    """One format. ``render(report, style, verbose)`` gives the whole text; most formats need no style."""

    name: str
    about: str
    render: Callable[[Report, Style, bool], str]


def _text(report: Report, style: Style, verbose: bool) -> str:
    from .text import render_text

    return render_text(report, style, verbose=verbose)


def _json(report: Report, _style: Style, _verbose: bool) -> str:
    return json.dumps(to_json(report), indent=1, allow_nan=False)


def _html(report: Report, _style: Style, _verbose: bool) -> str:
    from .html import render_html

    return render_html(report)


def _markdown(report: Report, _style: Style, _verbose: bool) -> str:
    from .markdown import render_markdown

    return render_markdown(report).rstrip("\n")


def _github(report: Report, _style: Style, _verbose: bool) -> str:
    from .github import render_github

    return render_github(report)


FORMATS: Final[dict[str, Format]] = {
    row.name: row
    for row in (
        Format("text", "for people, in a terminal or a log file", _text),
        Format("json", "the report file, for programs", _json),
        Format("html", "one page for a browser, nothing loaded from elsewhere", _html),
        Format("markdown", "for an issue, a merge request, a step summary", _markdown),
        Format("github", "annotations for GitHub Actions", _github),
    )
}


def render(report: Report, name: str = "text", style: Style | None = None, *, verbose: bool = False) -> str:
    """The report in a format.

    Raises:
        ReportError: If there is no such format; the message lists the good ones.
    """
    if name not in FORMATS:
        raise ReportError(f"no format {name!r}; good values: {', '.join(FORMATS)}")
    return FORMATS[name].render(report, style or Style(), verbose)
