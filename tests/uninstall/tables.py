"""What dynamo's rule tables hold, described so that two processes can be compared."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn


def _described(value: Any) -> str:
    return f"{type(value).__name__} {getattr(value, '__module__', None)}.{getattr(value, '__qualname__', None)}"


def _proxies() -> list[str]:
    import wrapt

    found = []
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("torch._dynamo") or module is None:
            continue
        for key, value in list(vars(module).items()):
            held = [value]
            if isinstance(value, dict):
                held += [*value.keys(), *value.values()]
            elif isinstance(value, (set, frozenset, list, tuple)):
                held += list(value)
            found += [f"{name}.{key}" for one in held if issubclass(type(one), wrapt.ObjectProxy)]
    return found


METHODS = ("item", "numpy", "to", "cpu", "tolist", "__bool__", "__array__")


def tables() -> dict[str, Any]:
    """What dynamo holds: its rule map by description, its sets of ids by the public names that are in them."""
    from torch._dynamo import trace_rules

    rules = trace_rules.get_torch_obj_rule_map()
    sets = {
        name: value
        for name, value in vars(trace_rules).items()
        if type(value).__name__ == "FunctionIdSet" and not name.startswith("__")
    }
    owners = {"torch": torch, "Tensor": torch.Tensor, "functional": nn.functional, "cuda": torch.cuda}
    names = [(f"{label}.{name}", owner, name) for label, owner in owners.items() for name in dir(owner)]
    inside: dict[str, list[str]] = {}
    for label, ids in sets.items():
        function_ids = ids()
        inside[label] = [full for full, owner, name in names if id(getattr(owner, name, None)) in function_ids]
    watched = ["from_numpy", "as_tensor", "tensor", "nonzero", "equal", "unique", "bincount", "asarray", "frombuffer"]
    return {
        "rules": sorted(f"{_described(key)} -> {rule.__name__}" for key, rule in rules.items()),
        "ids": inside,
        "looked up": {name: str(trace_rules.lookup(getattr(torch, name))) for name in watched},
        "methods": {name: str(trace_rules.lookup(getattr(torch.Tensor, name))) for name in METHODS},
        "proxies": _proxies(),
    }
