"""Files that torch maps into memory: what ``torch.load(mmap=True)`` cuts out of one does not know that it is a file's."""

from __future__ import annotations

import os
from typing import Any, Final

from ..session import SESSION
from ..sharing.backing import note_mapped
from .probe import Hook
from .unseen import unseen


@unseen
def from_file(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """``UntypedStorage.from_file(filename, shared, nbytes)``."""
    __tracebackhide__ = True
    result = wrapped(*args, **kwargs)
    if SESSION.memory is not None:
        try:
            note_mapped(result, os.fspath(args[0] if args else kwargs["filename"]))
        except Exception as error:
            SESSION.fault("mapped file", error)
    return result


MAPPED: Final[tuple[tuple[str, Hook], ...]] = (("torch:UntypedStorage.from_file", from_file),)
"""Python names, as in the operations table."""
