"""Whether somebody follows writes just now: one flag for everybody who may take a short way while nobody does."""

from __future__ import annotations


class Attention:
    """``awake`` while something is followed, or may have to be from the next alias on. Asked at each alias and each read."""

    __slots__ = ("awake",)

    def __init__(self) -> None:
        self.awake = False
