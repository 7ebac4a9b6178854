"""Where a tensor's first element lies, asked so that a lazy clone stays one (``data_ptr()`` would make it copy)."""

from __future__ import annotations

from typing import Any, Final

import torch

_of_storage: Final[Any] = getattr(torch._C, "_data_address", None)


def _of_element(tensor: torch.Tensor) -> int:
    start: int = _of_storage(tensor)
    return start and start + int(tensor.storage_offset()) * tensor.element_size()


def _chosen() -> Any:
    probe = torch.empty(2)[1:]
    if _of_storage is None:
        return torch.Tensor.data_ptr
    return _of_storage if _of_storage(probe) == probe.data_ptr() else _of_element


with torch._C.DisableTorchFunction():
    address_of: Final[Any] = _chosen()
