"""From a frame to a place in the user's source.

On the way only ``(id(code), f_lasti)`` is kept; ``expressions.py`` turns it into lines, columns and text when a report is made.
*User code* is what lies outside the standard library, site-packages, PyTorch and this package: scripts, notebook cells,
``exec`` and editable installs among it. The *site* is the innermost user frame, the *origin* the innermost frame outside
PyTorch and this package.
"""

from __future__ import annotations

import os
import re
import site as site_module
import sys
import sysconfig
import tempfile
from hashlib import blake2b
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from .expressions import position_of, same_text_before, site_at, site_of
from .words import Place, Site

USER: Final = 0
LIBRARY: Final = 1
TORCH: Final = 2
OWN: Final = 3

_PACKAGE: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_INSTALLED: Final = re.compile(r"[\\/](site|dist)-packages[\\/]")
_MOST_WRAPPED: Final = 16
_GENERATED: Final = ("<frozen ", "<attrs generated", "<__array_function__", "<template>", "<decorator-gen")


def _library_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {site_module.getusersitepackages(), os.path.dirname(os.__file__)}
    return tuple(sorted({os.path.join(form, "") for path in paths for form in (path, os.path.realpath(path))}))


def _is_compiled(name: str) -> bool:
    """Whether Inductor has written a file, in the folder that PyTorch 2.9 to 2.13 keep such files in."""
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or os.path.join(tempfile.gettempdir(), "torchinductor_")
    return name.startswith(folder)


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
        if (self._torch and name.startswith(self._torch)) or name.startswith("<eval_with_key>") or _is_compiled(name):
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


def _is_generated(code: CodeType) -> bool:
    """Whether ``dataclasses`` wrote it: a comparison of two that hold tensors is made where they are compared."""
    return getattr(code, "co_qualname", "").startswith("__create_fn__.")


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
            if (not consts or consts[0] != STAND_IN) and not (code.co_filename == "<string>" and _is_generated(code)):
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
    for _ in range(_MOST_WRAPPED):  # partials and decorated functions; a mock answers whatever it is asked
        if not (hasattr(handler, "func") or hasattr(handler, "__wrapped__")):
            break
        handler = getattr(handler, "func", None) or getattr(handler, "__wrapped__", None)
    if not hasattr(handler, "__code__"):  # a method, or an object that can be called
        handler = getattr(handler, "__func__", None) or vars(type(handler)).get("__call__")
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


def place_of(at: Trail) -> tuple[object, ...]:
    """Equal for equal expressions: a call's instruction is another one once Python 3.11 has specialised it."""
    if at.place is not None or at.code is None or at.lasti < 0:
        return at.key
    position = position_of(at.code, at.lasti)
    if position[2] is None:
        return at.key
    origin = position_of(at.origin, at.origin_lasti) if at.origin is not None and at.origin_lasti >= 0 else None
    return (id(at.code), position, id(at.origin), origin, at.inside, at.of and place_of(at.of))


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
    ordinal = same_text_before(code, site) if code is not None else 0
    where = str(site.line) if site.column is None else f"{site.line}:{site.column}"
    return [portable(site.file), site.function, site.source or where, str(ordinal)]
