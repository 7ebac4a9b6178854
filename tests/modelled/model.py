"""A plain model of shared memory: values by element, who can reach them, and what was handed out where.

Nothing here knows of the guard, and no memory is shared: a view is the array of the element numbers that it shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Side = str  # "torch" or "numpy"


@dataclass(eq=False)
class Memory:
    """Elements, and what they were after each line of the program."""

    dtype: str
    values: list[int]
    born: int
    history: dict[int, list[int]] = field(default_factory=dict)

    def at(self, line: int) -> list[int]:
        """The elements after a line; before the memory was there, as it was made."""
        return self.history[min(max(line, self.born), max(self.history))]


@dataclass(eq=False)
class Holder:
    """What a side lives by: a storage of torch's, or the array at the end of a chain of views."""

    side: Side
    behind: Holder | None = None
    """What it keeps alive itself: an array made of a tensor the storage, a borrowing storage the array."""


@dataclass(eq=False)
class Name:
    """A variable: which elements of a memory it shows, in its shape."""

    name: str
    memory: Memory
    shows: Numbers
    holder: Holder

    @property
    def side(self) -> Side:
        """Whether it is a tensor or an array."""
        return self.holder.side


@dataclass(eq=False)
class Handed:
    """One handing out: line, route, the elements that both sides have."""

    line: int
    route: str
    memory: Memory
    shows: Numbers
    torch: Holder
    numpy: Holder
    looked: int = 0
    """The line at which the guard last had to look at it."""

    @property
    def elements(self) -> set[int]:
        """The numbers of its elements."""
        return set(self.shows.ravel().tolist())

    def changed(self, first: int, last: int) -> set[int]:
        """Elements that differ between the end of one line and the end of another."""
        before, after = self.memory.at(first), self.memory.at(last)
        return {number for number in self.elements if before[number] != after[number]}


@dataclass(eq=False)
class Write:
    """A line that writes, whether or not it changes anything."""

    line: int
    side: Side
    memory: Memory
    elements: set[int]
    hidden: bool


@dataclass(eq=False)
class Demand:
    """From the end of one line to the end of another an alias changed, and the guard had to look."""

    handed: Handed
    first: int
    last: int
    elements: set[int]


class World:
    """All memory of one program."""

    def __init__(self) -> None:
        self.names: dict[str, Name] = {}
        self.memories: list[Memory] = []
        self.handed: list[Handed] = []
        self.writes: list[Write] = []
        self.demands: list[Demand] = []
        self.boundaries: list[int] = []
        self.visible: list[tuple[Write, Handed, set[int]]] = []
        self.line = 0

    def made(self, name: str, side: Side, dtype: str, shape: tuple[int, ...]) -> None:
        """New memory of one side's own."""
        count = int(np.prod(shape))
        memory = Memory(dtype, [0] * count, self.line)
        self.memories.append(memory)
        self.names[name] = Name(name, memory, np.arange(count).reshape(shape), Holder(side))

    def viewed(self, name: str, source: Name, shows: Numbers) -> None:
        """A view of the same side."""
        self.names[name] = Name(name, source.memory, shows, source.holder)

    def shared(self, name: str, source: Name, route: str) -> None:
        """Memory is handed to the other side."""
        other = Holder("numpy" if source.side == "torch" else "torch", source.holder)
        self.names[name] = Name(name, source.memory, source.shows, other)
        torch, numpy = (source.holder, other) if source.side == "torch" else (other, source.holder)
        self.handed.append(Handed(self.line, route, source.memory, source.shows, torch, numpy, self.line))

    def wrote(self, target: Name, elements: Numbers, value: int, *, adds: bool = False, hidden: bool = False) -> None:
        """A line writes ``value`` to, or adds it to, some elements."""
        memory, numbers = target.memory, set(elements.ravel().tolist())
        for number in numbers:
            memory.values[number] = memory.values[number] + value if adds else value
        self.writes.append(Write(self.line, target.side, memory, numbers, hidden))

    def held(self, holder: Holder) -> bool:
        """Whether a variable of the program is on this side."""
        return any(name.holder is holder for name in self.names.values())

    def kept(self, holder: Holder) -> bool:
        """Whether it lives: a variable shows it, or something that lives stands on it."""
        return any(_stands_on(name.holder, holder) for name in self.names.values())

    def both_held(self, handed: Handed) -> bool:
        """Whether variables on both sides can still write."""
        return self.held(handed.torch) and self.held(handed.numpy)

    def alone(self, memory: Memory) -> bool:
        """Whether all variables that show a memory hold it in one and the same way."""
        return len({id(name.holder) for name in self.names.values() if name.memory is memory}) <= 1

    def done(self) -> None:
        """A line is over."""
        for memory in self.memories:
            memory.history[self.line] = list(memory.values)
        for write in self.writes[-1:]:
            if write.line != self.line:
                continue
            for handed in self.handed:
                if handed.memory is write.memory and self.both_held(handed):
                    self.visible.append((write, handed, handed.changed(self.line - 1, self.line)))
        self.line += 1

    def looks(self, handed: Handed) -> None:
        """The guard has to look at an alias on this line, which writes nothing."""
        before, after = handed.memory.at(handed.looked), handed.memory.values
        changed = {number for number in handed.elements if before[number] != after[number]}
        if changed:
            self.demands.append(Demand(handed, handed.looked, self.line, changed))
        handed.looked = self.line

    def boundary(self) -> None:
        """The guard has to look at everything that both sides have."""
        self.boundaries.append(self.line)
        for handed in self.handed:
            if self.both_held(handed):
                self.looks(handed)

    def died(self, name: str) -> None:
        """A variable is deleted. Where that ends a side that the guard hears of, it looks once more."""
        gone = self.names.pop(name).holder
        if self.kept(gone):
            return
        for handed in self.handed:
            ends = handed.numpy if handed.numpy.behind is handed.torch else handed.torch  # the side that was made last
            other = handed.torch if ends is handed.numpy else handed.numpy
            if ends is gone and handed.route != "capsule" and self.held(other):
                self.looks(handed)


def _stands_on(holder: Holder | None, other: Holder) -> bool:
    while holder is not None:
        if holder is other:
            return True
        holder = holder.behind
    return False
