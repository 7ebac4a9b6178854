"""From an instruction to the user's expression: lines, columns and text.

Source is read when a report is made, and may be gone by then: a site without text, never an error.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import io
import linecache
import re
import tokenize
from collections.abc import Sequence
from functools import lru_cache
from types import CodeType
from typing import Final

from .words import Site

_COMPOUND: Final = re.compile(r"(async\s+)?(for|with|while|class|def|try|except|match)\b|@")
_TESTED: Final = re.compile(r"(if|elif|while|assert)\b")
WRITING: Final = ("CALL", "STORE_SUBSCR", "STORE_SLICE", "BINARY_OP", "INPLACE_")
"""How the names of instructions begin that may write memory."""


@lru_cache(maxsize=4096)
def position_of(code: CodeType, lasti: int) -> tuple[int | None, int | None, int | None, int | None]:
    """First and last line, first and last column in bytes of UTF-8, as far as the code object says."""
    if hasattr(code, "co_positions"):
        for index, position in enumerate(code.co_positions()):
            if index == lasti // 2:
                return position
    line = None
    for start, end, number in code.co_lines():  # 3.10: no columns
        if start <= lasti < end:
            line = number
    return line, line, None, None


def _columns(text: str, start: int | None, end: int | None, last_text: str) -> tuple[int | None, int | None]:
    """``co_positions`` counts UTF-8 bytes; people and editors count characters."""
    if start is None or end is None:
        return None, None
    if not text:
        return start, end  # the source cannot be read
    head = text.encode()[:start].decode(errors="replace")
    tail = last_text.encode()[:end].decode(errors="replace")
    return len(head), len(tail)


def _excerpt(lines: list[str], column: int | None, end_column: int | None) -> str | None:
    """The expression's own text in one line; the whole line where columns are unknown."""
    if not lines or not lines[0].strip():
        return None
    if column is None or end_column is None:
        return lines[0].strip()
    if len(lines) == 1:
        return lines[0][column:end_column] or lines[0].strip()
    return _in_one_line([lines[0][column:], *lines[1:-1], lines[-1][:end_column]])


def _in_one_line(lines: Sequence[str]) -> str:
    """Without comments: one of them would have the rest of the line for itself."""
    if len(lines) > 1:
        lines = list(lines)
        with contextlib.suppress(tokenize.TokenError, SyntaxError):  # a part of something that makes no sense alone
            for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
                if token.type == tokenize.COMMENT:
                    row, column = token.start
                    lines[row - 1] = lines[row - 1][:column]
    return " ".join(filter(None, (line.strip() for line in lines)))


def _source_lines(file: str, first: int, last: int) -> list[str]:
    return [linecache.getline(file, number).rstrip("\n") for number in range(first, min(last, first + 20) + 1)]


_Range = tuple[int, int, int | None, int | None]


@lru_cache(maxsize=4096)
def _header(file: str, line: int, end_line: int, start: int | None, end: int | None) -> _Range:
    """First and last line, first and last column.

    Some instructions of Python 3.11 stand for a whole statement: of an ``if``, ``while`` or ``assert`` it is the test that is
    meant, of a ``for`` or ``with`` the header.
    """
    text = linecache.getline(file, line).encode()[start or 0 :].decode(errors="replace")
    tested = _TESTED.match(text)
    if (end_line == line and tested is None) or not (tested or _COMPOUND.match(text)):
        return line, end_line, start, end
    for last in range(line, min(end_line, line + 20) + 1):
        header = _parsed(text)
        if header is not None:
            break
        text += linecache.getline(file, last + 1)  # an open bracket, or a header that does not stand alone
    else:
        return line, line, start, len(linecache.getline(file, line).rstrip().encode())
    test = getattr(header, "test", None)
    if test is None or not tested:
        return line, last, start, len(linecache.getline(file, last).rstrip().encode())
    shift = start or 0
    first = shift + test.col_offset if test.lineno == 1 else test.col_offset
    until = shift + test.end_col_offset if test.end_lineno == 1 else test.end_col_offset
    return line + test.lineno - 1, line + test.end_lineno - 1, first, until


def _parsed(text: str) -> ast.stmt | None:
    """The statement that begins there, with a body if it needs one; None where the text does not end where the header does."""
    text = re.sub(r"^elif\b", "if  ", text).rstrip()
    for whole in (text, f"{text}\n  pass"):
        with contextlib.suppress(SyntaxError):
            return ast.parse(whole).body[0]
    return None


@lru_cache(maxsize=16384)
def _build(code: CodeType, lasti: int, file: str) -> Site:
    line, end_line, start, end = position_of(code, lasti)
    line = line or code.co_firstlineno
    line, end_line, start, end = _header(file, line, end_line or line, start, end)
    lines = _source_lines(file, line, end_line)
    column, end_column = _columns(lines[0], start, end, lines[-1]) if lines else (None, None)
    name = getattr(code, "co_qualname", code.co_name)
    return Site(file, line, end_line, column, end_column, name, _excerpt(lines, column, end_column))


def site_of(code: CodeType, lasti: int) -> Site:
    """The expression of an instruction. Source that cannot be read gives a site without text, never an error."""
    if lasti < 0:
        return site_at(code.co_filename, code.co_firstlineno, getattr(code, "co_qualname", code.co_name))
    # the file is part of the key: equal code objects of two files compare as equal
    return _build(code, lasti, code.co_filename)


def site_at(file: str, line: int, function: str = "", code: CodeType | None = None) -> Site:
    """A site of which only the line is known: columns are None. With its code, a call that begins there is shown whole."""
    end_line = _end_line(code, line) if code is not None else line
    lines = _source_lines(file, line, end_line)
    return Site(file, line, end_line, None, None, function, _in_one_line(lines) or None)


@lru_cache(maxsize=4096)
def _end_line(code: CodeType, line: int) -> int:
    """The last line of what begins on that line and may write: a call, an assignment to an element, an operator."""
    if not hasattr(code, "co_positions"):
        return line
    steps = zip(code.co_code[::2], code.co_positions(), strict=False)
    ends = [end for step, (start, end, *_) in steps if start == line and end and dis.opname[step].startswith(WRITING)]
    return max(ends, default=line)


@lru_cache(maxsize=16384)
def same_text_before(code: CodeType, site: Site) -> int:
    """How many expressions with the same text stand before this one in the same function."""
    if not hasattr(code, "co_positions") or site.column is None:
        return 0
    if site.source is None:
        return 0
    first_word, more_lines = site.source.split(" ", 1)[0], (site.end_line or site.line) - site.line
    earlier = set()
    for line, end_line, start, end in set(code.co_positions()):
        if line is None or end_line is None or line > site.line:
            continue
        line, last, start, until = _header(site.file, line, end_line, start, end)  # noqa: PLW2901
        if last - line != more_lines:
            continue
        if first_word not in linecache.getline(site.file, line):  # cheap, and true of few
            continue
        lines = _source_lines(site.file, line, last)
        column, end_column = _columns(lines[0], start, until, lines[-1])
        if column is None or (line, column) >= (site.line, site.column):
            continue
        if _excerpt(lines, column, end_column) == site.source:
            earlier.add((line, column))
    return len(earlier)


def forget() -> None:
    """Drop what was read: source files may have been edited between two sessions of one process."""
    position_of.cache_clear()
    _header.cache_clear()
    _end_line.cache_clear()
    _build.cache_clear()
    same_text_before.cache_clear()
    linecache.checkcache()
