"""State dicts that are kept: their tensors are the live parameters, and follow them.

``best = model.state_dict()`` copies nothing. To keep one is no mistake, and to take one again and again is everyday code; the
mistake is to use it, after the weights were written, as if it held the old ones. So a write is remembered, and told when the
state is loaded or saved. Autograd's version counter, which the tensors share with the parameters, tells the write.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import torch

from ..operations.copies import nbytes_of
from ..sites import Trail

MOST_TENSORS: Final = 50_000
"""In all states that are kept: of each an entry of a hundred bytes or two. Then the oldest states are forgotten."""
DEEPEST: Final = 4
"""Containers within containers in which a state is looked for."""


class State:
    """One state dict that somebody may keep."""

    __slots__ = ("after", "at", "before", "exact", "last", "name", "nbytes", "ref", "step", "tensors", "versions")

    def __init__(self, ref: weakref.ref[Any], at: Trail, state: Mapping[str, Any]) -> None:
        self.ref = ref
        self.at = at
        self.last = at
        """Where it was last found unwritten."""
        self.versions = _versions(state)
        self.tensors = len(self.versions)
        self.nbytes = sum(nbytes_of(value) for value in state.values() if isinstance(value, torch.Tensor))
        self.after: Trail | None = None
        """Where it was found written; None while it is not."""
        self.before: Trail = at
        self.exact = False
        self.step = 0
        """In which it was found."""
        self.name = ""
        """The first entry that was written."""

    def written(self, addresses: Collection[int]) -> str | None:
        """The first entry that was written since the state was taken. ``addresses``: written without a trace in a counter."""
        state = self.ref()
        if state is None:
            return None
        for name, (identity, version) in self.versions.items():
            value = state.get(name)
            if id(value) != identity or not isinstance(value, torch.Tensor):
                continue  # replaced by a tensor of somebody's own
            if value._version != version or (addresses and value.data_ptr() in addresses):
                return name
        return None

    def holds_written(self) -> bool:
        """Whether it is known as written, and the written entry was not replaced since."""
        state = self.ref()
        if state is None or self.after is None:
            return False
        if id(state.get(self.name)) != self.versions[self.name][0]:
            self.name = self.written(()) or self.name
        return id(state.get(self.name)) == self.versions[self.name][0]


def _versions(state: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    return {
        name: (id(value), value._version)
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and not value.is_inference()
    }


class States:
    """The state dicts that are alive."""

    def __init__(self, step: Callable[[], int]) -> None:
        self._kept: dict[int, State] = {}
        self.unwritten: dict[int, State] = {}
        """Those of them that are still as they were taken: only these are looked at."""
        self._tensors = 0
        self.forgotten = 0
        """States that somebody may keep still, and nobody looks for any more."""
        self._step = step

    def __bool__(self) -> bool:
        return bool(self._kept)

    def taken(self, state: Any, at: Trail) -> None:
        """A module gave out its state."""
        if type(state) is not OrderedDict or not 0 < len(state) <= MOST_TENSORS:
            return
        key, kept = id(state), self._kept

        def died(ref: object) -> None:
            known = kept.get(key)
            if known is not None and known.ref is ref:
                self._leave(key)

        self._leave(key)
        kept[key] = self.unwritten[key] = made = State(weakref.ref(state, died), at, state)
        self._tensors += made.tensors
        while self._tensors > MOST_TENSORS and len(kept) > 1:
            self._leave(next(iter(kept)))
            self.forgotten += 1

    def _leave(self, key: int) -> None:
        self.unwritten.pop(key, None)
        known = self._kept.pop(key, None)
        if known is not None:
            self._tensors -= known.tensors

    def look(self, at: Trail, *, after_step: bool = False, addresses: Collection[int] = ()) -> None:
        """See which were written. ``after_step``: the last look was right before the step that has just ended at ``at``."""
        for key, state in list(self.unwritten.items()):
            name = state.written(addresses)
            if name is None:
                state.last = at
            else:
                self.unwritten.pop(key, None)
                state.name, state.before, state.after = name, state.last, at
                state.exact = after_step and state.last.key == at.key
                state.step = self._step()

    def used(self, value: Any, at: Trail) -> list[State]:
        """The states in what is loaded or saved at ``at`` that were written since they were taken: each is told once."""
        self.look(at)
        found = [state for state in self._within(value) if state.holds_written()]
        for state in found:
            self._leave(next((key for key, one in self._kept.items() if one is state), 0))
        return found

    def renew(self, value: Any) -> None:
        """A state was loaded into its own module: copied onto itself, which changes nothing."""
        for state in self._within(value):
            mapping = state.ref()
            if mapping is not None and state.after is None:
                state.versions = _versions(mapping)

    def clear(self) -> None:
        """The session is over."""
        self._kept, self.unwritten, self._tensors = {}, {}, 0

    def _within(self, value: Any, depth: int = 0) -> Iterator[State]:
        known = self._kept.get(id(value))
        if known is not None and known.ref() is value:
            yield known
        elif depth < DEEPEST:
            inner = value.values() if type(value) in (dict, OrderedDict) else value if type(value) in (list, tuple) else ()
            for one in inner:
                if not isinstance(one, torch.Tensor):
                    yield from self._within(one, depth + 1)
