"""The formats a report can be shown in, by name: adding one is adding a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .model import ReportError
from .schema import pieces
from .terminal import Style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .model import Report


@dataclass(frozen=True, slots=True)
class Format:
    """One format. ``render(report, style, verbose)`` gives the text, or its pieces; most formats need no style."""

    name: str
    about: str
    render: Callable[[Report, Style, bool], str | Iterable[str]]


def _text(report: Report, style: Style, verbose: bool) -> str:
    from .text import render_text

    return render_text(report, style, verbose=verbose)


def _json(report: Report, _style: Style, _verbose: bool) -> Iterable[str]:
    return pieces(report)


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
    return "".join(stream(report, name, style, verbose=verbose))


def stream(report: Report, name: str, style: Style | None = None, *, verbose: bool = False) -> Iterable[str]:
    """The same in pieces, as far as the format comes in pieces.

    Raises:
        ReportError: If there is no such format; the message lists the good ones.
    """
    if name not in FORMATS:
        raise ReportError(f"no format {name!r}; good values: {', '.join(FORMATS)}")
    text = FORMATS[name].render(report, style or Style(), verbose)
    return (text,) if isinstance(text, str) else text
