"""State dicts that are kept: their tensors are the live parameters, and follow them.

``best = model.state_dict()`` copies nothing. To keep one is no mistake, and to take one again and again is everyday code; the
mistake is to use it, after the weights were written, as if it held the old ones. So a write is remembered, and told when the
state is loaded or saved. Autograd's version counter, which the tensors share with the parameters, tells the write.

``{name: value.cpu() for name, value in model.state_dict().items()}`` copies nothing either, where the weights are on the host:
the state is dead at once, its tensors live on in another dict. They are known again by what they are.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import torch

from ..operations.copies import nbytes_of
from ..sites import Trail
from .interrupted import pass_on
from .ledger import version_probe

MOST_TENSORS: Final = 50_000
"""In all states that are kept: of each an entry of a hundred bytes or two. Then the oldest states are forgotten."""
MOST_LEFT: Final = 64
"""States that are dead and whose tensors may live on; then the oldest are forgotten."""
MOST_LOOKS: Final = 64
"""Steps after which a state is looked at: mostly the first one writes it."""
DEEPEST: Final = 4
"""Containers within containers in which a state is looked for."""


class State:
    """One state dict that somebody may keep."""

    __slots__ = (
        "after", "at", "before", "exact", "last", "looks", "name", "nbytes", "probes", "ref", "step", "tensors", "versions",
    )  # fmt: skip

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
        self.looks = 0
        """After steps, that found it unwritten."""
        self.probes = _probes(state, self.versions)

    def written(self, addresses: Collection[int]) -> str | None:
        """The first entry that was written since the state was taken. ``addresses``: written without a trace in a counter."""
        state = self.ref()
        return self._left_written(addresses) if state is None else self.written_in(state, addresses)

    def _left_written(self, addresses: Collection[int]) -> str | None:
        """The same when it is dead."""
        for name, address, probe in self.probes:
            if probe._version != self.versions[name][1] or address in addresses:
                return name
        return None

    def written_in(self, state: Mapping[str, Any], addresses: Collection[int] = ()) -> str | None:
        """The first entry of a mapping that is this state's own, and was written."""
        for name, (identity, version) in self.versions.items():
            value = state.get(name)
            if id(value) != identity or not isinstance(value, torch.Tensor):
                continue  # replaced by a tensor of somebody's own
            if value._version != version or (addresses and value.data_ptr() in addresses):
                return name
        return None

    def holds_written(self, state: Mapping[str, Any]) -> bool:
        """Whether it is known as written, and the written entry was not replaced since in the mapping that is used."""
        if self.after is None:
            return False
        if id(state.get(self.name)) != self.versions[self.name][0]:
            self.name = self.written_in(state) or self.name
        return id(state.get(self.name)) == self.versions[self.name][0]

    def is_within(self, mapping: Mapping[str, Any]) -> bool:
        """Whether some tensor of this dead state lives on in a mapping: by its name, its identity, its memory and its counter.

        An identity alone comes again: the copies that ``deepcopy(model.state_dict())`` makes lie where its tensors were.
        """
        for name, address, probe in self.probes:
            value = mapping.get(name)
            if id(value) != self.versions[name][0] or not isinstance(value, torch.Tensor) or not _is_plain(value):
                continue
            if value.data_ptr() == address and value._version == probe._version:
                return True
        return False


def _probes(state: Mapping[str, Any], versions: Mapping[str, Any]) -> list[tuple[str, int, torch.Tensor]]:
    """Of the first and the last tensor: their counters are asked when the state is dead."""
    names = list(versions)
    asked = dict.fromkeys((*names[:1], *names[1:][-1:]))
    made = ((name, state[name].data_ptr(), version_probe(state[name])) for name in asked if _is_plain(state[name]))
    return [(name, address, probe) for name, address, probe in made if probe is not None]


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether it has memory of its own on the host: of all else nothing is asked."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or torch._is_functional_tensor(tensor):
        return False
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or tensor.is_nested or tensor.is_quantized:
        return False
    return tensor.layout is torch.strided and tensor.is_cpu


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
        self._left: dict[int, State] = {}
        """States that are dead, by themselves, the newest last."""
        self.unwritten: dict[int, State] = {}
        """Those of both that are still as they were taken: only these are looked at. By themselves, too."""
        self.quiet: dict[int, State] = {}
        """Those among them that were so many steps later: looked at when they are used. The model may be gone, or frozen."""
        self._tensors = 0
        self.forgotten = 0
        """States that somebody may keep still, and nobody looks for any more."""
        self._step = step

    def __bool__(self) -> bool:
        return bool(self._kept or self._left)

    def taken(self, state: Any, at: Trail) -> None:
        """A module gave out its state."""
        if type(state) is not OrderedDict or not 0 < len(state) <= MOST_TENSORS:
            return
        key, kept = id(state), self._kept

        def died(ref: object) -> object:
            try:
                known = kept.get(key)
                if known is not None and known.ref is ref:
                    del kept[key]
                    self._outlived(known)
            except BaseException as error:
                return pass_on(error)
            return None

        self._leave(key)
        kept[key] = made = State(weakref.ref(state, died), at, state)
        self.unwritten[id(made)] = made
        self._tensors += made.tensors
        while self._tensors > MOST_TENSORS and self._left:
            self._forget(self._left[next(iter(self._left))])
        while self._tensors > MOST_TENSORS and len(kept) > 1:
            self._leave(next(iter(kept)))
            self.forgotten += 1

    def _outlived(self, state: State) -> None:
        """A state is dead; its tensors may live on."""
        if not state.probes:
            self._forget(state)
            return
        self._left[id(state)] = state
        while len(self._left) > MOST_LEFT:
            self._forget(self._left[next(iter(self._left))])

    def _leave(self, key: int) -> None:
        known = self._kept.pop(key, None)
        if known is not None:
            self._forget(known)

    def _forget(self, state: State) -> None:
        self.unwritten.pop(id(state), None)
        self.quiet.pop(id(state), None)
        self._left.pop(id(state), None)
        self._tensors -= state.tensors

    def look(self, at: Trail, *, after_step: bool = False, addresses: Collection[int] = ()) -> None:
        """See which were written. ``after_step``: the last look was right before the step that has just ended at ``at``."""
        if addresses:
            self._wake()  # no counter will tell of it later
        for key, state in list(self.unwritten.items()):
            name = state.written(addresses)
            if name is None:
                state.last = at
                state.looks += after_step
                if state.looks > MOST_LOOKS and not addresses and self.unwritten.pop(key, None) is not None:
                    self.quiet[key] = state
            else:
                self.unwritten.pop(key, None)
                state.name, state.before, state.after = name, state.last, at
                state.exact = after_step and state.last.key == at.key
                state.step = self._step()

    def _wake(self) -> None:
        self.unwritten.update(self.quiet)
        self.quiet.clear()

    def used(self, value: Any, at: Trail) -> list[State]:
        """The states in what is loaded or saved at ``at`` that were written since they were taken: each is told once."""
        self._wake()
        self.look(at)
        found = [(state, id(mapping)) for state, mapping in self._within(value) if state.holds_written(mapping)]
        for state, key in found:
            self._kept.pop(key, None)
            self._forget(state)
        return [state for state, _ in found]

    def renew(self, value: Any) -> None:
        """A state was loaded into its own module: copied onto itself, which changes nothing."""
        for state, mapping in self._within(value):
            if state.after is None:
                state.versions = {**state.versions, **_versions(mapping)}

    def clear(self) -> None:
        """The session is over."""
        self._kept, self._left, self.unwritten, self.quiet, self._tensors = {}, {}, {}, {}, 0

    def _within(self, value: Any, depth: int = 0) -> Iterator[tuple[State, Mapping[str, Any]]]:
        known = self._kept.get(id(value))
        mapping = known.ref() if known is not None else None
        if known is not None and mapping is not None and mapping is value:
            yield known, mapping
        elif (left := self._left_in(value)) is not None:
            yield left, value
        elif depth < DEEPEST:
            inner = value.values() if type(value) in (dict, OrderedDict) else value if type(value) in (list, tuple) else ()
            for one in inner:
                if not isinstance(one, torch.Tensor):
                    yield from self._within(one, depth + 1)

    def _left_in(self, value: Any) -> State | None:
        """The newest dead state whose tensors live on in it: identities of dead tensors come again."""
        if not self._left or type(value) not in (dict, OrderedDict) or not isinstance(next(iter(value), None), str):
            return None
        return next((state for state in reversed(list(self._left.values())) if state.is_within(value)), None)
