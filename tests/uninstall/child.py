"""Enters and leaves guards in every awkward way and tells what was left behind.

``python -m uninstall.child situations`` prints one JSON object: situation -> differences between before and after.
``python -m uninstall.child tables [guard]`` prints what dynamo's rule tables hold after its first import, made bare or
inside a guard.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import torch

from tensorwatch_guard import guard
from uninstall.situations import SITUATIONS, work
from uninstall.state import changes, state
from uninstall.tables import tables


def run_situations() -> dict[str, list[str]]:
    """Each situation with the state before and after it held together."""
    work()  # what PyTorch itself sets up at the first use is none of the guard's
    told: dict[str, list[str]] = {}
    kept = {owner: dict(vars(owner)) for owner in (torch, torch.Tensor)}
    for situation in SITUATIONS:
        before = state()
        try:
            told[situation.__name__] = list(situation() or [])
        except Exception:
            told[situation.__name__] = [traceback.format_exc()[-1500:]]
        told[situation.__name__] += changes(before, state())
        _repair(kept)
    return told


def _repair(kept: dict[Any, dict[str, Any]]) -> None:
    """Put back what a situation left changed, so that the next one tells of itself only."""
    for owner, names in kept.items():
        for name in [name for name in vars(owner) if name not in names]:
            delattr(owner, name)
        for name, value in names.items():
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)


def main() -> int:
    """Run what the arguments name and print it."""
    told: Any
    if sys.argv[1] == "situations":
        told = run_situations()
    elif sys.argv[2:] == ["guard"]:
        with guard(report=False):
            work()
            compiled = torch.compile(lambda x: x.to(torch.float64).sum() * 2, backend="eager")
            compiled(torch.ones(2))
            tables()
        told = tables()
    else:
        work()
        torch.compile(lambda x: x.to(torch.float64).sum() * 2, backend="eager")(torch.ones(2))
        told = tables()
    print("\n" + json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
