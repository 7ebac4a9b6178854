"""From a frame to a place in the user's source.

On the way only ``(id(code), f_lasti)`` is kept; this room turns it into file, line, columns and text when a report is made.
*User code* is what lies outside the standard library, site-packages, PyTorch and this package: scripts, notebook cells,
``exec`` and editable installs among it. The *site* is the innermost user frame, the *origin* the innermost frame outside
PyTorch and this package.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import linecache
import os
import re
import site as site_module
import sys
import sysconfig
from functools import lru_cache
from hashlib import blake2b
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from .words import Place, Site

USER: Final = 0
LIBRARY: Final = 1
TORCH: Final = 2
OWN: Final = 3

_PACKAGE: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_INSTALLED: Final = re.compile(r"[\\/](site|dist)-packages[\\/]")
_COMPOUND: Final = re.compile(r"(async\s+)?(for|with|while|class|def|try|except|match)\b|@")
_TESTED: Final = re.compile(r"(if|elif|while|assert)\b")
WRITING: Final = ("CALL", "STORE_SUBSCR", "STORE_SLICE", "BINARY_OP", "INPLACE_")
_GENERATED: Final = ("<frozen ", "<attrs generated", "<__array_function__", "<template>", "<decorator-gen")


def _library_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {site_module.getusersitepackages(), os.path.dirname(os.__file__)}
    return tuple(sorted({os.path.join(form, "") for path in paths for form in (path, os.path.realpath(path))}))


class Files(dict[str, int]):
    """``co_filename`` to USER, LIBRARY, TORCH or OWN; a file is classified once, then it is one dict look-up."""

    def __init__(self) -> None:
        super().__init__()
        self._folders = _library_folders()
        self._torch: tuple[str, ...] = ()

    def __missing__(self, name: str) -> int:
        kind = self._classify(name)
        if "torch" in sys.modules or kind is not LIBRARY:  # before torch is there, its folder is not known
            self[name] = kind
        return kind

    def _classify(self, name: str) -> int:
        if name.startswith(_PACKAGE):
            return OWN
        if not self._torch and "torch" in sys.modules:
            folder = os.path.dirname(getattr(sys.modules["torch"], "__file__", None) or "")
            forms = (folder, os.path.realpath(folder))
            self._torch = tuple({os.path.join(form, "") for form in forms if form})
        if (self._torch and name.startswith(self._torch)) or name.startswith("<eval_with_key>"):
            return TORCH
        if name.startswith("<"):
            return LIBRARY if name.startswith(_GENERATED) else USER
        if _INSTALLED.search(name) or name.startswith(self._folders):
            return LIBRARY
        return USER


FILES: Final = Files()


class Trail(NamedTuple):
    """Where a call came from: code and instruction of the user's frame and, where a library made the call, of its frame."""

    code: CodeType | None
    lasti: int
    origin: CodeType | None
    origin_lasti: int
    place: Place | None = None
    """Where only a line is known (a follower's word): stands in for code and instruction."""
    inside: bool = False
    """As the earlier end of an interval: the later one is the end of the same call, not of a loop that turned."""
    of: Trail | None = None
    """As the earlier end of an interval: where the memory was handed out, for one interval may hold writes to several."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal places; never hashes a code object, which is slow and by value."""
        if self.place is not None:
            return (self.place.file, self.place.line)
        if self.inside:
            return (id(self.code), self.lasti, id(self.origin), self.origin_lasti, True)
        if self.of is not None:
            return (id(self.code), self.lasti, id(self.origin), self.origin_lasti, self.of.key)
        return (id(self.code), self.lasti, id(self.origin), self.origin_lasti)

    @property
    def site(self) -> Site | None:
        """The user's expression, None where no user frame stood."""
        if self.place is not None:
            if self.place.code is not None and self.place.lasti >= 0:
                return site_of(self.place.code, self.place.lasti)
            return site_at(self.place.file, self.place.line, self.place.function, self.place.code)
        return site_of(self.code, self.lasti) if self.code is not None else None

    @property
    def origin_site(self) -> Site | None:
        """The library's expression that made the call, None where the user's own did."""
        return site_of(self.origin, self.origin_lasti) if self.origin is not None else None


_made: Final = tuple.__new__
"""Half the price of a named tuple's own constructor."""
NOWHERE: Final = Trail(None, -1, None, -1)


HORIZONS: Final[set[int]] = set()
"""Codes (by id) beyond which no frame is the user's: a test runner's, which may have been started from any script."""


STAND_IN: Final = "stands in for a line of the user's while tensorwatch_guard watches a call in it"
"""First constant of functions that only look like the user's, see ``probes/stand_in.py``."""


def is_stand_in(code: CodeType) -> bool:
    """Whether a frame of this code only looks like the user's."""
    consts = code.co_consts
    return bool(consts) and consts[0] == STAND_IN


def trail(frame: FrameType | None) -> Trail:
    """Site and origin as seen from ``frame`` outwards. Holds code objects only, never the frame."""
    origin: CodeType | None = None
    origin_lasti = -1
    files = FILES
    while frame is not None:
        code = frame.f_code
        kind = files[code.co_filename]
        if kind == USER:
            consts = code.co_consts
            if not consts or consts[0] != STAND_IN:
                return _made(Trail, (code, frame.f_lasti, origin, origin_lasti, None, False, None))
        elif kind == LIBRARY:
            if HORIZONS and id(code) in HORIZONS:
                return NOWHERE
            if origin is None and not is_stand_in(code):
                origin, origin_lasti = code, frame.f_lasti
        frame = frame.f_back
        if origin is not None and not HORIZONS:  # the longest part of the way: nothing but the user's frame is looked for
            while frame is not None and files[frame.f_code.co_filename] != USER:
                frame = frame.f_back
    return Trail(None, -1, origin, origin_lasti)


def from_signal_handler(error: BaseException) -> bool:
    """Whether an exception was raised by a signal handler of the user's, which may run between any two lines of ours."""
    import signal

    handlers = [handler for number in signal.valid_signals() if callable(handler := signal.getsignal(number))]
    codes = {code for handler in handlers if (code := _code_of(handler)) is not None}
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code in codes:
            return True
        step = step.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    while hasattr(handler, "func") or hasattr(handler, "__wrapped__"):  # partials and decorated functions
        handler = getattr(handler, "func", None) or getattr(handler, "__wrapped__", None)
    if not hasattr(handler, "__code__"):  # a method, or an object that can be called
        handler = getattr(handler, "__func__", None) or vars(type(handler)).get("__call__")
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


@lru_cache(maxsize=4096)
def _position(code: CodeType, lasti: int) -> tuple[int | None, int | None, int | None, int | None]:
    if hasattr(code, "co_positions"):
        for index, position in enumerate(code.co_positions()):
            if index == lasti // 2:
                return position
    line = None
    for start, end, number in code.co_lines():  # 3.10: no columns
        if start <= lasti < end:
            line = number
    return line, line, None, None


def place_of(at: Trail) -> tuple[object, ...]:
    """Equal for equal expressions: a call's instruction is another one once Python 3.11 has specialised it."""
    if at.place is not None or at.code is None or at.lasti < 0:
        return at.key
    position = _position(at.code, at.lasti)
    if position[2] is None:
        return at.key
    origin = _position(at.origin, at.origin_lasti) if at.origin is not None and at.origin_lasti >= 0 else None
    return (id(at.code), position, id(at.origin), origin, at.inside, at.of and place_of(at.of))


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
    parts = [lines[0][column:], *lines[1:-1], lines[-1][:end_column]]
    return " ".join(part.strip() for part in parts)


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
    line, end_line, start, end = _position(code, lasti)
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
    return Site(file, line, end_line, None, None, function, " ".join(filter(None, map(str.strip, lines))) or None)


@lru_cache(maxsize=4096)
def _end_line(code: CodeType, line: int) -> int:
    """The last line of what begins on that line and may write: a call, an assignment to an element, an operator."""
    if not hasattr(code, "co_positions"):
        return line
    steps = zip(code.co_code[::2], code.co_positions(), strict=False)
    ends = [end for step, (start, end, *_) in steps if start == line and end and dis.opname[step].startswith(WRITING)]
    return max(ends, default=line)


@lru_cache(maxsize=16384)
def _same_text_before(code: CodeType, site: Site) -> int:
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


def portable(file: str) -> str:
    """A file's name that stays the same on another machine: below site-packages, below the working folder, or as it is."""
    parts = _INSTALLED.split(file)
    if len(parts) > 1:
        return parts[-1].replace(os.sep, "/")
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # the directory is gone
        return file
    return (file.removeprefix(here)).replace(os.sep, "/")


def identity(kind: str, op: str, at: Trail, extra: Trail | None = None) -> str:
    """The ``id`` of a finding: stable when lines move, different for two equal expressions of one function.

    ``extra`` is the other end of an interval, which tells two intervals with one end apart.
    """
    # of a followed line the columns come to be known late: its id is the line's
    site = site_at(at.place.file, at.place.line, at.place.function) if at.place is not None else at.site
    parts = [kind, op, *_identity_of(site, at.code), *_identity_of(at.origin_site, at.origin)]
    if extra is not None:
        parts += _identity_of(extra.site, extra.code)
        parts += ["inside"] if extra.inside else []
        parts += _identity_of(extra.of.site, extra.of.code) if extra.of is not None else []
    return blake2b("\0".join(parts).encode(errors="replace"), digest_size=8).hexdigest()


def _identity_of(site: Site | None, code: CodeType | None) -> list[str]:
    if site is None:
        return ["-"]
    ordinal = _same_text_before(code, site) if code is not None else 0
    where = str(site.line) if site.column is None else f"{site.line}:{site.column}"
    return [portable(site.file), site.function, site.source or where, str(ordinal)]


def forget() -> None:
    """Drop cached sites: source files may have been edited between two sessions of one process."""
    _position.cache_clear()
    _header.cache_clear()
    _end_line.cache_clear()
    _build.cache_clear()
    _same_text_before.cache_clear()
    linecache.checkcache()
