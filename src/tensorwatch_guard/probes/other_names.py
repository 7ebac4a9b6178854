"""Code that is the same but for a name it asks for: how a function of PyTorch's is led past a probe, or to one of its own."""

from __future__ import annotations

from types import CodeType


def asking(code: CodeType, name: str, instead: str) -> CodeType:
    """The same code that asks for another name, as do the comprehensions in it; itself where it does not ask for ``name``."""
    consts = tuple(asking(one, name, instead) if isinstance(one, CodeType) else one for one in code.co_consts)
    names = tuple(instead if one == name else one for one in code.co_names)
    if names == code.co_names and all(one is other for one, other in zip(consts, code.co_consts, strict=True)):
        return code
    return code.replace(co_consts=consts, co_names=names)
