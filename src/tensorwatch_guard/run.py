"""``tensorwatch-guard run``: run a program as ``python`` would, in this process, with a guard around all of it.

The program gets its own ``__main__`` module, argv and ``sys.path[0]``, and its tracebacks without a frame of ours. Its
module outlives it until the report is made, so that memory that was shared at the end still is.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import sys
import threading
from dataclasses import dataclass
from types import CodeType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from .environment import is_violation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VIOLATED: Final = 2
"""Exit code of a program that broke a level or a limit."""

_HERE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep


class CannotRun(Exception):  # noqa: N818  # says what is the matter, as CannotSendRequest does
    """There is no such program: a mistake in the command, told in one line."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run: how to get at its code, and what ``python`` would call its module.

    ``path`` is what goes to the front of ``sys.path``; ``load`` finds and compiles, with that path in place.
    """

    path: str
    argv: tuple[str, ...]
    load: Callable[[], tuple[CodeType, dict[str, Any]]]


def program_of(module: Sequence[str], code: Sequence[str], script: Sequence[str]) -> Program:
    """The program that ``-m MODULE args``, ``-c CODE args`` or ``SCRIPT args`` names; one of the three is not empty.

    Raises:
        CannotRun: if none is named, or the file cannot be opened.
    """
    if module:
        return Program(os.getcwd(), ("-m", *module[1:]), lambda: _module(module[0]))
    if code:
        return Program("", ("-c", *code[1:]), lambda: _text(code[0]))
    if not script:
        raise CannotRun("nothing to run; name a script, or -m module, or -c code")
    file = script[0]
    if os.path.isdir(file) or _is_archive(file):
        return Program(file, tuple(script), lambda: _archive(file))
    try:
        with io.open_code(os.path.abspath(file)) as opened:
            source = opened.read()
    except OSError as error:
        raise CannotRun(f"can't open file {os.path.abspath(file)!r}: [Errno {error.errno}] {error.strerror}") from None
    return Program(os.path.dirname(os.path.realpath(file)), tuple(script), lambda: _script(file, source))


def run(program: Program) -> int:
    """Run it to its end, and print the traceback it died of, if it did.

    Returns:
        The exit code that ``python`` would have given; `VIOLATED` if it died of a `GuardViolation`.

    Raises:
        CannotRun: if there is no such module.
        KeyboardInterrupt: if that is what ended it; its traceback has been printed.
    """
    main = ModuleType("__main__")
    if sys.version_info < (3, 14):  # since then only where there are annotations
        main.__annotations__ = {}
    sys.modules["__main__"] = main
    sys.argv[:] = program.argv
    if not getattr(sys.flags, "safe_path", False) and sys.path:
        sys.path[0] = program.path
    try:
        code, names = program.load()
        main.__dict__.update(names, __builtins__=builtins)
        exec(code, main.__dict__)  # noqa: S102 - running it is the task
    except CannotRun:
        raise
    except SystemExit as error:
        return _exit_code(error)
    except BaseException as error:
        show(error)
        if isinstance(error, KeyboardInterrupt):
            raise
        return VIOLATED if is_violation(error) else 1
    finally:
        wait_for_threads()
    return 0


def wait_for_threads() -> None:
    """Wait for threads that are no daemons, as ``python`` does before it ends: they still work for the program."""
    if any(not one.daemon and one is not threading.main_thread() for one in threading.enumerate()):
        shutdown = getattr(threading, "_shutdown", None)
        if shutdown is not None:  # also tells idle workers of executors to end; joining alone would hang
            shutdown()


def show(error: BaseException) -> None:
    """Print the traceback as ``python`` would, through ``sys.excepthook``, without a frame of ours."""
    _without_us(error, set())
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        sys.__excepthook__(type(error), error, error.__traceback__)


def _exit_code(error: SystemExit) -> int:
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr, flush=True)  # noqa: T201 - as python does with sys.exit("text")
    return 1


def _without_us(error: BaseException | None, seen: set[int]) -> None:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    kept: list[TracebackType] = []
    one = error.__traceback__
    while one is not None:
        if not one.tb_frame.f_code.co_filename.startswith(_HERE):
            kept.append(one)
        one = one.tb_next
    chain: TracebackType | None = None
    for one in reversed(kept):
        chain = TracebackType(chain, one.tb_frame, one.tb_lasti, one.tb_lineno)
    error.__traceback__ = chain
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        _without_us(other, seen)


def _script(file: str, source: bytes) -> tuple[CodeType, dict[str, Any]]:
    path = os.path.abspath(file)
    if file.endswith(".pyc"):
        loader: Any = importlib.machinery.SourcelessFileLoader("__main__", path)
        code = loader.get_code("__main__")
    else:
        loader = importlib.machinery.SourceFileLoader("__main__", path)
        code = compile(source, path, "exec", dont_inherit=True)
    return code, {"__file__": path, "__cached__": None, "__spec__": None, "__loader__": loader}


def _text(code: str) -> tuple[CodeType, dict[str, Any]]:
    return compile(code, "<string>", "exec", dont_inherit=True), {"__loader__": importlib.machinery.BuiltinImporter}


def _is_archive(file: str) -> bool:
    import zipfile

    return os.path.isfile(file) and not file.endswith((".py", ".pyc")) and zipfile.is_zipfile(file)


def _archive(file: str) -> tuple[CodeType, dict[str, Any]]:
    spec = importlib.machinery.PathFinder.find_spec("__main__", [file])
    if spec is None:
        raise CannotRun(f"can't find '__main__' module in {file!r}")
    return _code_of(spec), _names_of(spec)


def _module(name: str) -> tuple[CodeType, dict[str, Any]]:
    spec = _find(name)
    if spec.submodule_search_locations is not None:
        try:
            spec = _find(f"{name}.__main__")
        except CannotRun as error:
            raise CannotRun(f"{error}; {name!r} is a package and cannot be directly executed") from None
    code = _code_of(spec)
    sys.argv[0] = str(spec.origin)
    return code, _names_of(spec)


def _find(name: str) -> importlib.machinery.ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a package on the way could not import something of its own: the program's error
        spec = None
    except (ValueError, AttributeError) as error:
        raise CannotRun(f"cannot find module {name!r}: {error}") from None
    if spec is None:
        raise CannotRun(f"No module named {name}")
    return spec


def _code_of(spec: importlib.machinery.ModuleSpec) -> CodeType:
    code = getattr(spec.loader, "get_code", lambda _: None)(spec.name)
    if not isinstance(code, CodeType):
        raise CannotRun(f"No code object available for {spec.name}")
    return code


def _names_of(spec: importlib.machinery.ModuleSpec) -> dict[str, Any]:
    return {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__spec__": spec,
        "__loader__": spec.loader,
        "__package__": spec.parent,
    }
