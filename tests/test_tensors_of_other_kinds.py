"""Sparse, nested, quantised and functional tensors say little of their memory: nothing breaks, and no fault of ours is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
import torch

from tensorwatch_guard import guard

KINDS: Final[dict[str, Callable[[], torch.Tensor]]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8),
    "opaque": lambda: torch.ones(3, 3).to_mkldnn(),
    "functional": lambda: torch._to_functional_tensor(torch.ones(3)),
    "zero": lambda: torch._efficientzerotensor(3),
    "meta": lambda: torch.ones(3, device="meta"),
    "uninitialised": torch.nn.parameter.UninitializedParameter,
}


def state_of(tensor: torch.Tensor) -> Any:
    module = torch.nn.Module()
    module.register_buffer("held", tensor)
    return module.state_dict()


USES: Final[dict[str, Callable[[Any], Any]]] = {
    "print": repr,
    "format": "{}".format,
    "data": lambda tensor: tensor.data,
    "numpy": lambda tensor: tensor.numpy().shape,
    "array": lambda tensor: np.asarray(tensor).shape,
    "contains": lambda tensor: 1.0 in tensor,
    "dlpack": lambda tensor: bool(tensor.__dlpack__()),
    "tolist": lambda tensor: len(tensor.tolist()),
    "copy": lambda tensor: copy.copy(tensor).shape,
    "state": state_of,
    "to": lambda tensor: tensor.to(torch.float64),
}


def outcome(use: Callable[[Any], Any], kind: Callable[[], torch.Tensor]) -> str:
    try:
        return str(use(kind()))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("ops", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_use_comes_to_what_it_does_alone(kind: str, ops: bool) -> None:
    alone = {name: outcome(use, KINDS[kind]) for name, use in USES.items()}
    with guard(report=False, ops=ops) as g:
        guarded = {name: outcome(use, KINDS[kind]) for name, use in USES.items()}
    assert guarded == alone
    assert not [one for one in g.report.notices if one.rule.startswith("TWG9") and one.rule != "TWG904"]  # of a busy machine
