"""Other tensors of a storage: whether one of them sees the bytes that an array of it was written through.

``x.chunk(2)`` gives two tensors of one storage. Where the array of one is written, the other is a holder of the storage that
sees nothing of it. Which bytes a tensor sees only itself can tell, so the interpreter's list of objects is gone through: some
ten milliseconds, and so for the first write of a place, and later ones as far as a hundredth of the time goes.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from time import perf_counter_ns, thread_time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from .census import overlapping
from .owners import region_of

if TYPE_CHECKING:
    from ..words import Region

_holders: Final[Any] = getattr(torch.Tensor, "_use_count", lambda _: sys.maxsize)
SHARE: Final = 0.01
GRACE_NS: Final = 250_000_000
_Place = tuple[object, ...]


class Onlookers:
    """What was found, by the place where the memory was handed out."""

    def __init__(self) -> None:
        self._known: dict[_Place, bool] = {}
        self._exports: dict[_Place, int] = {}
        self._started = perf_counter_ns()
        self._spent_ns = 0

    def known(self, place: _Place) -> bool | None:
        """What is to be answered without another search; None where one may be made."""
        known = self._known.get(place)
        return known if known or self._is_spent() else None

    def see(self, place: _Place, storage: Any, regions: Sequence[Region], holders: int, behind: set[int]) -> bool:
        """Whether a tensor of ``storage`` sees a byte of ``regions``, or some holder cannot be asked.

        Args:
            place: where the array was handed out.
            storage: the storage.
            regions: what was written.
            holders: how many tensors hold the storage.
            behind: ids of tensors that only stand behind arrays of it.
        """
        started = thread_time_ns()
        with torch._C.DisableTorchFunction():  # tensors of a type of the user's are among those that are asked
            found = self._known[place] = _seen(storage, regions, holders, behind)
        self._spent_ns += thread_time_ns() - started
        return found

    def exports(self, place: _Place, storage: Any) -> int:
        """How many others hold a tensor of ``storage`` itself: each DLPack export is one, and nothing else tells.

        A tensor that a graph has saved has one more holder, too: then it counts as exported for as long.
        """
        if self._is_spent():
            return self._exports.get(place, 1)
        started = thread_time_ns()
        with torch._C.DisableTorchFunction():
            found = self._exports[place] = _exports(storage)
        self._spent_ns += thread_time_ns() - started
        return found

    def _is_spent(self) -> bool:
        # processor time: on a machine that is busy with others the answer is to be the same
        return self._spent_ns > GRACE_NS + SHARE * (perf_counter_ns() - self._started)


class _Uses(NamedTuple):
    """A tensor on a storage: its holders, its views among the others, and its names in Python."""

    tensor: torch.Tensor
    holders: int
    views: int
    names: int


def _uses(storage: Any) -> tuple[list[_Uses], int]:
    """The tensors on a storage that can be asked, and how many there are with those that only their views hold."""
    there = _tensors_on(storage)
    counts = [_holders(one) for one in there]  # ahead of any ``_base``, which is one more
    # the list, the name in the loop, and the question
    names = [sys.getrefcount(one) - 3 for one in there]
    bases = [base._cdata for one in there if one._is_view() and (base := one._base) is not None]
    views = [bases.count(one._cdata) for one in there]
    uses = [_Uses(*use) for use in zip(there, counts, views, names, strict=True)]
    return uses, len({one._cdata for one in there} | set(bases))


def _exports(storage: Any) -> int:
    return sum(max(use.holders - 1 - use.views, 0) for use in _uses(storage)[0])


def _seen(storage: Any, regions: Sequence[Region], holders: int, behind: set[int]) -> bool:
    uses, known = _uses(storage)
    if known < holders:
        return True  # a graph, or C++, has it as well
    own = int(_keeps_objects())
    for use in uses:
        # its views keep it, it has no name any more
        nobodys = use.views > 0 and use.holders - own <= use.views and use.names <= 1
        if nobodys or id(use.tensor) in behind:
            continue
        seen = region_of(use.tensor)
        if any(overlapping(seen, region) is not False for region in regions):
            return True
    return False


def _keeps_objects() -> bool:
    """Whether a tensor's Python object always counts as a use of it, and is itself held where there is another."""
    one = torch.empty(0, device="cpu")
    before = sys.getrefcount(one)
    other = one.view(0)
    return sys.getrefcount(one) > before and other is not one


def _tensors_on(storage: Any) -> list[torch.Tensor]:
    data, found = storage._cdata, []
    kinds = _kinds(torch.Tensor)
    for one in [one for one in gc.get_objects() if id(type(one)) in kinds]:
        try:
            if one.layout is torch.strided and one.untyped_storage()._cdata == data:
                found.append(one)
        except (RuntimeError, NotImplementedError, AttributeError):  # no memory of its own
            continue
    return found


def _kinds(kind: type) -> set[int]:
    """A type and all that are made of it: to ask each of a hundred thousand objects is dearer."""
    return {id(kind)}.union(*map(_kinds, type.__subclasses__(kind)))
