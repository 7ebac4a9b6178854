"""Whether somebody follows writes just now, and where: asked by everybody who may take a short way while nobody does."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

EVERYWHERE: Final = None


class Attention:
    """``awake`` while something is followed, or may have to be from the next alias on. Asked at each alias and each read.

    ``places``: keys of trails that it is about, where memory was handed out or an interval ends; ``EVERYWHERE`` in exact mode.
    """

    __slots__ = ("awake", "places")

    def __init__(self) -> None:
        self.awake = False
        self.places: AbstractSet[tuple[object, ...]] | None = frozenset()

    def is_for(self, key: tuple[object, ...]) -> bool:
        """Whether what happens there has to be known in full."""
        return self.awake and (self.places is EVERYWHERE or key in self.places)
