"""``Tensor.data`` as a property of ours: who takes a tensor's memory past its version counter, and who replaces it.

PyTorch's own descriptor lives on a type that cannot be changed; a property of ``torch.Tensor`` stands before it while a guard
is open, and hands every call on to it.
"""

from __future__ import annotations

import inspect
import sys
from time import perf_counter_ns
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

import torch

from ..current import LOCAL, PLAIN, Here, Tensor, function_mode_on, is_real
from ..session import SESSION
from ..sharing.addresses import address_of
from ..sharing.data_views import ENDS, is_saved
from ..sharing.moments import now
from ..sites import FILES, TORCH, USER, Trail
from .stand_in import stand_in, strip

if TYPE_CHECKING:
    from ..memory import Memory

_get_frame: Final = sys._getframe
_compiler: Final = torch.compiler
_tracing: Final = torch._C._is_tracing
NAME: Final = "data"
_NOTHING: Final[Any] = object()


class DataProperty(property):
    """Says of itself what PyTorch's descriptor says: Dynamo knows attributes of tensors by it."""

    __objclass__ = torch._C.TensorBase
    __name__ = NAME
    __qualname__ = f"TensorBase.{NAME}"


def _made(get: Any, put: Any, remove: Any) -> DataProperty:
    session, local = SESSION, LOCAL

    def taken(self: Any) -> Any:
        __tracebackhide__ = True
        if not session.collectors:
            return get(self)
        if type(self) not in PLAIN or function_mode_on():  # somebody's __torch_function__ hears of it
            if session.memory is not None:
                session.memory.writes.data_views.blind.overlooked = True
            return _as_the_user(_get_frame(1), get, self)
        view = get(self)
        if self.requires_grad and not session.sharing and self.is_leaf and not is_saved(self):
            frame = _get_frame(1)  # a parameter after backward: mostly nobody has its memory
            known = ENDS.get((id(frame.f_code), frame.f_lasti))
            if known is not None and not known[1]:
                return view
        here = local.here
        memory = session.memory
        if here.busy or memory is None or memory.mode == "off" or not _is_open(view):
            return view
        frame = _get_frame(1)
        started = perf_counter_ns()
        here.busy = True
        try:
            if not _is_internal(frame):
                views = memory.writes.data_views
                views.take(self, view, _trail(frame), frame.f_code, frame.f_lasti)
                if views and not session.past_counter:
                    session.begin_past_counter()
        except Exception as error:
            session.fault("Tensor.data", error)
        finally:
            here.busy = False
        session.overhead_ns += perf_counter_ns() - started
        return view

    def replaced(self: Any, value: Any) -> None:
        __tracebackhide__ = True
        here = local.here
        memory = session.memory
        if not session.collectors:
            put(self, value)
        elif type(self) not in PLAIN or function_mode_on():
            _as_the_user(_get_frame(1), put, self, value)
        elif here.busy or memory is None or memory.mode == "off" or _same(self, value) or not _is_open(self):
            put(self, value)
        else:
            change = _begin(here, memory, self, _get_frame(1))
            put(self, value)
            if change is not None:
                _end(here, change)

    def deleted(self: Any) -> None:
        __tracebackhide__ = True
        remove(self)

    return DataProperty(taken, replaced, deleted, inspect.getdoc(torch._C.TensorBase.data))


def _is_open(tensor: Tensor) -> bool:
    """Whether a tensor has plain memory of the host that may be asked for."""
    return (
        not _compiler._is_compiling_flag
        and not _tracing()
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and is_real(tensor)
        and not tensor.is_inference()
    )


def _same(tensor: Tensor, value: Any) -> bool:
    """``p.data -= x`` ends by assigning what was there."""
    try:
        return type(value) is Tensor and address_of(value) == address_of(tensor) and value.nbytes == tensor.nbytes
    except Exception:  # no memory of its own
        return False


def _as_the_user(frame: FrameType, call: Any, *args: Any) -> Any:
    __tracebackhide__ = True
    try:
        return stand_in(frame)(call, args, {})
    except BaseException as error:
        strip(error)
        raise


def _is_internal(frame: FrameType) -> bool:
    """PyTorch's sharded modules take memory away and bring it back before it is used."""
    name = frame.f_code.co_filename
    return FILES[name] == TORCH and "distributed" in name


def _trail(frame: FrameType) -> Trail:
    code = frame.f_code
    return Trail(code, frame.f_lasti, None, -1) if FILES[code.co_filename] == USER else SESSION.trail(frame)


class _Change:
    """A tensor that is about to get other memory."""

    __slots__ = ("address", "before", "frame", "held", "tensor", "ties")

    def __init__(self, memory: Memory, tensor: Tensor, frame: FrameType) -> None:
        self.tensor = tensor
        self.frame = frame
        self.address = tensor.data_ptr()
        self.ties: Any = ()
        if SESSION.sharing:
            self.ties = memory.writes.severed.ties(tensor.untyped_storage().data_ptr(), now(_trail(frame)))
        views = memory.writes.data_views
        # a leaf is saved as itself: the node reads the new memory
        self.held = tensor.is_leaf and is_saved(tensor) and not _is_internal(frame)
        self.before = views.content(tensor, self.address) if self.held else None

    def end(self) -> None:
        memory = SESSION.memory
        if memory is None or self.tensor.data_ptr() == self.address:
            return
        if self.tensor.is_cpu and self.tensor.nbytes:
            memory.writes.twin(self.tensor)
        if self.held and self.tensor.is_cpu:
            memory.writes.data_views.replaced(self.tensor, _trail(self.frame), self.before)
            SESSION.begin_past_counter()
        if self.ties:
            memory.writes.severed.cut(self.ties, _trail(self.frame))


def _begin(here: Here, memory: Memory, tensor: Tensor, frame: FrameType) -> _Change | None:
    here.busy = True
    try:
        return _Change(memory, tensor, frame)
    except Exception as error:
        SESSION.fault("Tensor.data", error)
        return None
    finally:
        here.busy = False


def _end(here: Here, change: _Change) -> None:
    here.busy = True
    try:
        change.end()
    except Exception as error:
        SESSION.fault("Tensor.data", error)
    finally:
        here.busy = False


class DataProbe:
    """The property in its place. ``lay`` and ``lift`` as the other probes'."""

    def __init__(self) -> None:
        self._before: Any = _NOTHING
        self._ours: DataProperty | None = None

    def lay(self) -> None:
        """Stand before PyTorch's descriptor, or before what somebody else has put there."""
        if isinstance(vars(Tensor).get(NAME), DataProperty):  # of an earlier guard: somebody saved it and put it back
            delattr(Tensor, NAME)
        self._before = vars(Tensor).get(NAME, _NOTHING)
        original = inspect.getattr_static(Tensor, NAME)
        self._ours = _made(original.__get__, original.__set__, original.__delete__)
        setattr(Tensor, NAME, self._ours)

    def lift(self) -> None:
        """Leave what was there; what somebody has put on top stays, and ours under it is inert."""
        if self._ours is not None and vars(Tensor).get(NAME) is self._ours:
            if self._before is _NOTHING:
                delattr(Tensor, NAME)
            else:
                setattr(Tensor, NAME, self._before)
        self._ours, self._before = None, _NOTHING

    @property
    def codes(self) -> set[CodeType]:
        """What calls the user's code, for Dynamo to skip it alone."""
        made = _made(None, None, None)
        return {function.__code__ for function in (made.fget, made.fset, made.fdel, _as_the_user) if function is not None}
