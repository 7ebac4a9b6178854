"""Frames of ours that ``warnings`` and ``logging`` do not count.

``stacklevel`` counts frames, and a probe's stands between the user's line and PyTorch's function. Both modules leave out the
frames of the import system, which they know by two words in the name of the file (``_is_internal_frame`` in CPython's
``Lib/warnings.py`` and, from 3.11 on, ``Lib/logging/__init__.py``): the code of a probe has these words in its name, too.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
WORDS: Final = " <as importlib._bootstrap>"
"""What is added to a file's name."""
_named: Final[dict[int, tuple[CodeType, CodeType]]] = {}
"""By the id of a code, which is kept: closures of one function share their code, in caches, too."""


def unseen(function: F) -> F:
    """The function, which from now on is left out where frames are counted. Source text is still found, by its module."""
    code = function.__code__
    known = _named.get(id(code))
    if known is None:
        known = _named[id(code)] = (code, code.replace(co_filename=code.co_filename + WORDS))
    function.__code__ = known[1]
    return function


def renamed(code: CodeType) -> CodeType:
    """What runs in place of a code that was compiled: itself, where its function is seen."""
    return _named.get(id(code), (code, code))[1]
