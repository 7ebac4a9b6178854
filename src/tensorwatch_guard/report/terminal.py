"""What a stream can show: colour, width, characters. NO_COLOR and FORCE_COLOR win over guesses."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .excerpt import cells

if TYPE_CHECKING:
    from collections.abc import Mapping

NARROWEST: Final = 60
WIDEST: Final = 120
LOG_WIDTH: Final = 80
_CODES: Final[Mapping[str, str]] = {
    "critical": "1;35", "error": "1;31", "warning": "33", "note": "36", "good": "32", "strong": "1", "dim": "2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """How to write for one stream. ``encoding`` limits the characters; None: whatever comes."""

    width: int = LOG_WIDTH
    color: bool = False
    encoding: str | None = None

    def paint(self, text: str, tone: str) -> str:
        """The text in a tone (a severity, ``good``, ``strong``, ``dim``), or as it is."""
        return f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if self.color and text else text

    def fit(self, text: str) -> str:
        """The text with what the stream cannot encode written as escapes."""
        if self.encoding is None:
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def wrap(self, text: str, first: str = "", rest: str | None = None) -> list[str]:
        """Lines no wider than the stream, the first after ``first``, the others after ``rest`` (as many blanks)."""
        rest = " " * cells(first) if rest is None else rest
        wrapper = textwrap.TextWrapper(
            width=self.width,
            initial_indent=first,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return wrapper.wrap(text) or [first.rstrip()]


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _colors(stream: Any, environ: Mapping[str, str]) -> bool:
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return environ["FORCE_COLOR"] != "0"
    return _is_terminal(stream) and environ.get("TERM") != "dumb"


def _columns(stream: Any, environ: Mapping[str, str]) -> int:
    asked = environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return max(NARROWEST, min(int(asked), WIDEST))
    if not _is_terminal(stream):
        return LOG_WIDTH
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, ValueError, OSError):
        return LOG_WIDTH
    return max(NARROWEST, min(columns or LOG_WIDTH, WIDEST))


def _encoding(stream: Any) -> str | None:
    name = getattr(stream, "encoding", None)
    return name if isinstance(name, str) and name.lower().replace("-", "") not in {"utf8", "utf16"} else None


def style_of(stream: Any, environ: Mapping[str, str] | None = None) -> Style:
    """The style that suits a stream."""
    environ = os.environ if environ is None else environ
    return Style(_columns(stream, environ), _colors(stream, environ), _encoding(stream))


def plain_style(stream: Any, environ: Mapping[str, str] | None = None) -> Style:
    """The same without colour: for texts that may end up anywhere."""
    environ = os.environ if environ is None else environ
    return Style(_columns(stream, environ), encoding=_encoding(stream))
