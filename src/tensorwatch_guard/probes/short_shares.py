"""The short ways of calls that share small memory in the host, or copy there: no happening is opened.

Three ways, of which the first that may is gone: a settled line's call is counted and no more; another is counted, and watched
where it is its turn; what is more than that takes the long way of ``shares``. What is asked of a settled line stands in each
probe, here and in ``reads``: a call more would cost as much as all that is saved.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from ..current import LOCAL, PLAIN, Tensor, function_mode_on
from ..operations import Operation
from ..routes import remember
from ..session import SESSION, Session
from ..sharing.attention import EVERYWHERE
from ..sites import FILES, OWN, USER
from . import temporaries
from .probe import Hook, Maker
from .refusals import refused
from .stand_in import caller, stand_in, strip
from .unseen import unseen

if TYPE_CHECKING:
    from types import FrameType

    from ..collector import Tally
    from ..current import Here
    from ..routes import Busy

_get_frame: Final = sys._getframe
_compiler: Final = torch.compiler
_tracing: Final = torch._C._is_tracing
TO_HOST: Final = "tensor->array"
TO_TENSOR: Final = "array->tensor"
_QUIET: Final = frozenset({np.ndarray, int, float, bool})
"""Of these PyTorch copies without a word: no warning can name our frame."""
_HOST: Final = (None, torch.device("cpu"), "cpu")
UNTIMED: Final = 63
"""Of aliases that are only counted one in so many and one is timed, and lets those who wait for a time have their turn."""


def to_array_method(row: Operation, long_way: Hook) -> Maker:
    """What stands for ``numpy`` itself: of a settled line the array is counted, and no more."""
    session, local, name, short = SESSION, LOCAL, row.name, _to_array_short(row, long_way)

    def made(original: Any) -> Any:
        @unseen
        def method(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            here = local.here
            frame = _get_frame(1)
            busy = here.busy_lines.get((name, id(frame.f_code), frame.f_lasti))
            if (
                busy is None
                or not busy.left
                or here.generation != session.generation
                or session.attention.awake
                or args
                or kwargs
                or _tracing()
                or (tally := busy.tally or busy.way(2)) is None
                or tally.count + 1 >= tally.watch_at
            ):
                return short(original, here, frame, busy, tensor, args, kwargs)
            try:
                result = original(tensor)
            except Exception as error:
                strip(error)
                refused(row, frame, error, kwargs)
                raise
            _count(busy, tally, session.steps.now)
            return result

        return method

    return made


def _to_array_short(row: Operation, long_way: Hook) -> Callable[..., Any]:
    """Small plain memory: counted and put into the nursery, no happening is opened."""
    session, counted = SESSION, _counting(row, TO_HOST)

    @unseen
    def short(original: Any, here: Here, frame: FrameType, busy: Busy | None, tensor: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if type(tensor) not in PLAIN or args or kwargs or not _is_short(session, here, frame):
            return long_way(MethodType(original, tensor), tensor, args, kwargs)
        try:
            result = original(tensor)
        except Exception as error:
            strip(error)
            refused(row, frame, error, kwargs)
            raise
        try:
            base, nbytes = result.base, result.nbytes
            if nbytes and type(base) is Tensor:
                counted(here, frame, busy, nbytes, base, None, tensor)
        except Exception as error:
            session.fault(row.name, error)
        return result

    return short


def from_array(row: Operation, long_way: Hook, *, keywords: bool = False) -> Maker:
    """What stands for a function that an array is handed to. ``keywords``: it takes some, and may copy if it is given any."""
    session, local, name, short = SESSION, LOCAL, row.name, _from_array_short(row, long_way, keywords=keywords)

    def made(original: Any) -> Any:
        @unseen
        def function(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            here = local.here
            frame = _get_frame(1)
            if frame.f_code is temporaries.MADE_IN and temporaries.passes(here, frame):
                return original(*args, **kwargs)
            busy = here.busy_lines.get((name, id(frame.f_code), frame.f_lasti))
            if (
                busy is None
                or not busy.left
                or here.generation != session.generation
                or session.attention.awake
                or len(args) != 1
                or (kwargs and not _is_for_host(session, kwargs))
                or type(args[0]) is not np.ndarray
                or not args[0].flags.writeable
                or (keywords and function_mode_on())
                or _tracing()
                or (tally := busy.tally or busy.way(2)) is None
                or tally.count + 1 >= tally.watch_at
            ):
                return short(original, here, frame, busy, args, kwargs)
            try:
                result = original(*args, **kwargs) if kwargs else original(args[0])
            except Exception as error:
                strip(error)
                refused(row, frame, error, kwargs)
                raise
            _count(busy, tally, session.steps.now)
            return result

        return function

    return made


def _is_for_host(session: Session, kwargs: dict[str, Any]) -> bool:
    """Whether a device is named and nothing else, and it is the host's memory: such a call copies as little as one without."""
    return len(kwargs) == 1 and not session.devices and kwargs.get("device", False) in _HOST


def _is_copied(tensor: Tensor) -> bool:
    """Whether its memory is torch's own: that is resizable."""
    return tensor.untyped_storage().resizable()


def _from_array_short(row: Operation, long_way: Hook, *, keywords: bool) -> Callable[..., Any]:
    session, counted = SESSION, _counting(row, TO_TENSOR)

    @unseen
    def short(wrapped: Any, here: Here, frame: FrameType, busy: Busy | None, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if (
            not args
            or type(args[0]) is not np.ndarray
            or (kwargs and (not keywords or (session.devices and "device" in kwargs)))
            or (keywords and len(args) > 1 and session.devices)
            or not _is_short(session, here, frame)
        ):
            return long_way(wrapped, None, args, kwargs)
        array = args[0]
        try:
            # of a read-only array PyTorch warns, at the innermost frame
            result = wrapped(*args, **kwargs) if array.flags.writeable else stand_in(frame)(wrapped, args, kwargs)
        except Exception as error:
            strip(error)
            refused(row, frame, error, kwargs)
            raise
        try:
            nbytes = result.nbytes
            if nbytes and type(result) is Tensor and not (keywords and _is_copied(result)):
                counted(here, frame, busy, nbytes, result, array, result)
        except Exception as error:
            session.fault(row.name, error)
        return result

    return short


def _count(busy: Busy, tally: Tally, step: int) -> None:
    """One of a settled line, which is not watched."""
    busy.left -= 1
    tally.count += 1
    tally.passed += 1
    tally.nbytes += tally.size
    tally.last_step = step


def _is_short(session: Session, here: Here, frame: FrameType) -> bool:
    """Whether an alias made there now may take the short way."""
    return not (
        not session.short_shares
        or here.busy
        or here.open is not None
        or session.flying
        or _compiler._is_compiling_flag
        or (session.grants is not None and session.grants.get() is not None)
        or function_mode_on()
        or _tracing()
        or (session.attention.awake and _is_followed(session, frame))
    )


def _counting(row: Operation, direction: str) -> Callable[[Here, FrameType, Busy | None, int, Tensor, Any, Tensor], None]:
    """How a sharing of small plain memory is counted, and watched where it is its turn."""
    session, name = SESSION, row.name

    def counted(
        here: Here, frame: FrameType, busy: Busy | None, nbytes: int, tensor: Tensor, array: Any, seen: Tensor
    ) -> None:
        guess = None
        if busy is not None and here.generation == session.generation:
            guess = busy.found(4)
        if guess is not None and (count := guess.count + 1) < guess.watch_at and count & UNTIMED:
            guess.count = count  # one of the many of a busy line
            guess.passed += 1
            guess.nbytes += nbytes
            guess.last_step = session.steps.now
            return
        code = frame.f_code
        at = None if FILES[code.co_filename] == USER else session.trail(frame)
        # (name, *at.key), without the call
        key = (name, id(code), frame.f_lasti) if at is None else (name, id(at[0]), at[1], id(at[2]), at[3])
        memory = session.memory
        if memory is None:
            return
        here.busy, started = True, perf_counter_ns()
        try:
            watched = memory.born(here, row, direction, key, at or (code, frame.f_lasti), tensor, array, seen)
        finally:
            here.busy = False
        if here.only is not None and not session.grants:
            _known(session, here, row, frame, here.only.get(key), guess, nbytes)
        if session.beat_at and started > session.beat_at:
            session.pulse()
        session.timed(started, 1 if watched else UNTIMED + 1)

    return counted


def _known(
    session: Session, here: Here, row: Operation, frame: FrameType, tally: Tally | None, guess: Tally | None, nbytes: int
) -> None:
    """One of a line was looked at: what is known of the line is brought up to date."""
    if tally is None:
        return  # past the most sites that are kept
    known = remember(here.busy_lines, row.name, frame, tally, guess)
    tally.size = nbytes
    if known is not None:
        known.settle(tally, may=not session.devices)


def _is_followed(session: Session, frame: FrameType) -> bool:
    """Whether what is handed out there is followed, or an interval that is followed ends there."""
    try:
        return session.attention.places is EVERYWHERE or session.attention.is_for(session.trail(frame).key)
    except Exception as error:
        session.fault("share", error)
        return True


def copying(row: Operation, long_way: Hook, of: frozenset[type] | None = None, position: int = 0) -> Hook:
    """What copies, or hands back the same tensor, is nothing to tell where nothing can move.

    ``of``: only of such arguments, of which the first is at ``position``.
    """
    session, local = SESSION, LOCAL

    @unseen
    def probe(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if (
            session.devices
            or len(args) <= position
            or (of is not None and type(args[position]) not in of)
            or (isinstance(args[position], Tensor) and type(args[position]) not in PLAIN)
            or local.here.open is not None
            or function_mode_on()
            or _compiler._is_compiling_flag
            or _tracing()
        ):
            return long_way(wrapped, instance, args, kwargs)
        frame = _get_frame(1)
        while FILES[frame.f_code.co_filename] == OWN and frame.f_back is not None:
            frame = frame.f_back  # a short way's probe sent it here
        try:
            if type(args[position]) in _QUIET:
                return wrapped(*args, **kwargs)
            return caller(frame, wrapped)(wrapped, args, kwargs)
        except Exception as error:
            _refused(row, frame, error, kwargs)
            raise

    return probe


def copied(long_way: Hook, row: Operation) -> Maker:
    """What stands for a function that copies numbers and arrays, which is nothing to tell where nothing can move."""
    session = SESSION

    def made(original: Any) -> Any:
        @unseen
        def function(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            try:
                if args and type(args[0]) in _QUIET and not session.devices:
                    return original(*args, **kwargs)
            except Exception as error:
                _refused(row, _get_frame(1), error, kwargs)
                raise
            return long_way(original, None, args, kwargs)

        return function

    return made


def _refused(row: Operation, frame: FrameType, error: Exception, kwargs: Any) -> None:
    """A refusal to copy, if it is the user's."""
    strip(error)
    if not LOCAL.here.busy and SESSION.collectors:
        refused(row, frame, error, kwargs)


