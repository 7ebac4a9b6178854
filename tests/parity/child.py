"""Runs the programs of one group in this process, bare or each inside a guard, and writes what they noted.

``python -m parity.child GROUP MODE FOLDER [PROGRAM ...]``, with the folder ``tests`` on the path. MODE is ``bare`` or
a name of `MODES` or `parity.breaches.BREACHES`. The result file is JSON: one object a program, with its notes, the
warnings it caused and the states it left behind; or ``{"unavailable": reason}`` where the mode does not exist (yet).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from parity.programs import programs_of

MODES: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "check": {"writes": "check"},
    "exact": {"writes": "exact"},
    "ops": {"ops": True},
}
"""Name of a mode -> options of the guard."""

SEED = 20_240
Factory = Callable[[], AbstractContextManager[Any]]


class UnavailableError(Exception):
    """The mode asked for cannot be had here; the text says why."""


def factory_of(mode: str) -> Factory:
    """What makes the context manager that a program runs in.

    Raises:
        UnavailableError: if the guard, or this mode of it, is not there.
    """
    if mode in ("bare", "bare again"):
        return contextlib.nullcontext
    if mode not in MODES:
        from parity.breaches import BREACHES

        return BREACHES[mode]
    try:
        from tensorwatch_guard import guard
    except ImportError as error:
        raise UnavailableError(f"tensorwatch_guard has no guard: {error}") from error
    options = {"report": False, **MODES[mode]}
    try:
        guard(**options)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UnavailableError(f"guard({options}) is not there: {error}") from error
    return lambda: guard(**options)


def _seeded() -> None:
    import numpy as np
    import torch

    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002
    torch.manual_seed(SEED)


def _left_behind(record: Any) -> None:
    """The states that outlast a program: random numbers, modes, tracers."""
    import threading

    import numpy as np
    import torch

    record.note("left: torch rng", torch.get_rng_state())
    record.note("left: numpy rng", repr(np.random.get_state()))  # noqa: NPY002
    record.note("left: python rng", repr(random.getstate()))
    record.note("left: grad mode", torch.is_grad_enabled())
    record.note("left: tracers", [repr(sys.gettrace()), repr(sys.getprofile()), repr(threading.gettrace())])
    record.note("left: filters", repr(warnings.filters))


def run_program(program: Callable[[Any], None], factory: Factory) -> dict[str, Any]:
    """Run one program; return its notes, its warnings and, if it died, how."""
    from parity.record import Record, described, plain_text

    record = Record()
    _seeded()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            with factory():
                program(record)
        except Exception as error:
            record.note("died", {**described(error), "traceback": traceback.format_exc()[-1500:]})
        told = [
            f"{Path(one.filename).name}:{one.lineno} {one.category.__name__}: {plain_text(str(one.message))}"
            for one in list(seen)
        ]
    _left_behind(record)
    return {"notes": record.values, "warnings": told}


def _tell(mode: str, programs: dict[str, Callable[[Any], None]], result: Path) -> None:
    try:
        factory = factory_of(mode)
    except UnavailableError as reason:
        result.write_text(json.dumps({"unavailable": str(reason)}))
        return
    told = {}
    for name, program in programs.items():
        print(f"--- {name}", flush=True)
        told[name] = run_program(program, factory)
    result.write_text(json.dumps({"programs": told}))


def main(arguments: list[str]) -> int:
    """Run the group and write ``FOLDER/MODE.json``; several modes, joined by commas, run in a fork each."""
    group, modes, folder, *wanted = arguments
    import torch

    torch.set_num_threads(1)
    programs = {name: program for name, program in programs_of(group).items() if not wanted or name in wanted}
    for mode in modes.split(","):
        alone = "," not in modes
        if alone or os.fork() == 0:
            _tell(mode, programs, Path(folder) / f"{mode}.json")
            if alone:
                return 0
            sys.stdout.flush()
            os._exit(0)  # to take PyTorch's modules apart would copy all their memory
        if os.wait()[1]:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
