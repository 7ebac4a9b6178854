"""Breaks each function of the package in turn while a program runs under the guard.

``python -m faults.everywhere ERROR GUARDS PART PARTS``: an error of `ERRORS`, under the first so many guards of `GUARDS`, of
every so many functions one.

A first run notes which functions of the package other functions of it call, and in which phase: entering the guard, inside,
leaving it. Then one function raises in one phase: on each call, or once for an interrupt. Told, as JSON, is
what the program then did that it does not do without a guard, and what was left behind.

Functions that somebody else calls (the probes themselves, call-backs of weak references) are no targets: what they call is.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from types import CodeType, FrameType, FunctionType
from typing import Any

import torch

import tensorwatch_guard
from faults.program import run
from tensorwatch_guard import guard
from tensorwatch_guard.probes.unseen import WORDS
from tensorwatch_guard.running import RUNNING

HERE = os.path.dirname(tensorwatch_guard.__file__)
GUARDS: tuple[dict[str, Any], ...] = (
    {"writes": "auto"},
    {"writes": "exact"},
    {"writes": "check", "ops": True},
    {"writes": "check", "census": True, "mutation": "warn", "hazard": "warn"},
)
PHASES = ("entering", "inside", "leaving")
ORIGINAL = torch.Tensor.item
Target = tuple[str, int, str]  # file, first line, name


CONTEXT = ("__init__", "__enter__", "__exit__")
KERNEL = {
    # called at each line of the user's, and contains the rest
    "sharing/follow.py": {"LineFollower._hit"},
    "sharing/versions.py": {"Versions.__eq__"},
    "sharing/suspects.py": {"is_our_work"},
    # called by probes around the user's call, outside any containment: each is short, and these contain the rest
    "probes/happen.py": {"_first_word", "contained", "_unheard"},
    "probes/refusals.py": {"refused"},
    "probes/temporaries.py": {"passes", "Unwatched.lift", "Unwatched.end"},
    "probes/stand_in.py": {"_direct", "stand_in", "caller", "strip"},
    "probes/spans.py": {"guarded", "told", "place_of", "looks", "_before_backward", "_put_aside", "_unwatched"},
    "probes/optimizer_steps.py": {"_before_whole", "_after_whole"},
    "probes/silent_writes.py": {"_shared"},
    "probes/reads.py": {"_short.<locals>.short"},
    "probes/short_shares.py": {
        *("_to_array_short.<locals>.short", "_from_array_short.<locals>.short", "_is_short", "_is_copied", "_is_followed"),
        *("_refused", "_count", "copying.<locals>.probe"),
    },
    "probes/probe.py": {"_OfClass.__get__", "_quick.<locals>.Quick.__get__", "Handle.remove"},
    "probes/dozing.py": {"Dozing.lift"},
    "probes/install.py": {"Installation.stop", "Installation.lift"},
    "routes.py": {"Busy.way"},
    "probes/step_reads.py": {"StepReads.lift", "StepReads._is_ours", "_counted"},
    "probes/data.py": {"_is_open", "_same", "_begin", "_end", "DataProbe.lift"},
    "probes/ops.py": {"_look", "_watch", "_owed", "_give_back", "_look_around"},
    "probes/plans.py": {"Plan.run"},
    "probes/torch_writes.py": {"follow"},
    "probes/flights.py": {"follow"},
    "session.py": {"Session.end", "Session.due", "Session.fall_silent"},
    "sharing/states.py": {"States.__bool__"},
    "current.py": {"Happening.swallows", "is_plain", "is_real"},
    "sites.py": {"is_stand_in"},
    # leaving: these see to it that everything else is taken away
    "guard.py": {"guard._close", "guard._policy", "guard._finish", "guard._leave"},
    "containment.py": {"suppress_faults", "take_all", "_take", *("_Contained." + name for name in CONTEXT)},
    "running.py": {
        *("Running.close", "Running.undo", "Running._forget", "Running._end_if_last", "Running._end", "Running._lift"),
        "Running.empty_report", "Running.turn",
    },
    "reporting.py": {"without_findings"},
    "processes/household.py": {"Household.closed", "Household.forget"},
    "policy/heed.py": {"Policy.at_exit"},
    "report/model.py": {"totals_of"},
}
"""Functions that are trusted, by file."""


ERRORS: dict[str, type[BaseException]] = {"bug": ZeroDivisionError, "interrupt": KeyboardInterrupt}


class Injection:
    """What is broken now, and in which phase the guard is."""

    def __init__(self) -> None:
        self.phase = "out"
        self.functions: list[FunctionType] = []
        self.when = ""
        self.error: type[BaseException] = ZeroDivisionError
        self.times = 0
        self.raised = 0
        self._kept: list[CodeType] = []

    def enter(self, phase: str) -> None:
        """A phase begins."""
        self.phase = phase
        if phase == self.when:
            self._break()
        else:
            self.mend()

    def _break(self) -> None:
        self._kept = [function.__code__ for function in self.functions]
        for function in self.functions:
            function.__code__ = _raising(function.__code__)

    def mend(self) -> None:
        """Put the functions' own code back."""
        for function, code in zip(self.functions, self._kept, strict=False):
            function.__code__ = code
        self._kept = []

    def strike(self) -> BaseException:
        """What a broken function raises."""
        self.raised += 1
        self.times -= 1
        if not self.times:
            self.mend()
        return self.error("it breaks")


INJECTION = Injection()


def _raising(code: CodeType) -> CodeType:
    """Code that raises, with as many free variables as ``code``."""
    names = [f"free{number}" for number in range(len(code.co_freevars))]
    text = "def outer():\n" + "".join(f" {name} = 0\n" for name in names)
    text += " def raising(*_, **__):\n  from faults.everywhere import INJECTION\n  raise INJECTION.strike()\n"
    text += f"  return ({', '.join(names)},)\n return raising\n" if names else " return raising\n"
    space: dict[str, Any] = {}
    exec(compile(text, code.co_filename, "exec"), space)  # an error of the package's own
    made: CodeType = space["outer"]().__code__
    return made


def target_of(code: CodeType) -> Target:
    """A function's name from process to process."""
    file = os.path.relpath(code.co_filename.removesuffix(WORDS), HERE)
    return file, code.co_firstlineno, getattr(code, "co_qualname", code.co_name)


def guarded(options: dict[str, Any]) -> list[Any]:
    """The program under a guard."""
    g = guard(report=False, **options)
    INJECTION.enter("entering")
    with g:
        INJECTION.enter("inside")
        told = run()
        INJECTION.enter("leaving")
    INJECTION.enter("out")
    return told


def called(options: dict[str, Any]) -> list[tuple[Target, str]]:
    """Functions of the package that only the package calls, by phase."""
    seen: dict[tuple[CodeType, str], bool] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and INJECTION.phase != "out" and frame.f_code.co_filename.startswith(HERE):
            by_us = frame.f_back is not None and frame.f_back.f_code.co_filename.startswith(HERE)
            key = (frame.f_code, INJECTION.phase)
            seen[key] = seen.get(key, True) and by_us

    sys.setprofile(note)
    try:
        guarded(options)
    finally:
        sys.setprofile(None)
    return [(target_of(code), phase) for (code, phase), by_us in seen.items() if by_us]


def outcome(options: dict[str, Any], wanted: list[Any], error: str) -> str:
    """What is wrong once something is broken; empty where nothing is."""
    INJECTION.error, INJECTION.raised = ERRORS[error], 0
    INJECTION.times = 1 if error == "interrupt" else -1
    unraisable: list[Any] = []
    sys.unraisablehook = unraisable.append
    raised: BaseException | None = None
    told = None
    try:
        told = guarded(options)
    except BaseException as caught:
        raised = caught
    INJECTION.mend()
    if not INJECTION.raised:
        return ""
    problem = _after(raised, told == wanted, error, unraisable)
    if torch.Tensor.item is not ORIGINAL or RUNNING.in_place or sys.gettrace() is not None:
        problem += "; left in place"
        for collector in list(RUNNING._open):
            RUNNING.undo(collector)
    if error != "interrupt" and unraisable:
        problem += f"; unraisable: {unraisable[0].exc_value!r}"
    return problem + _works_again()


def _after(raised: BaseException | None, equal: bool, error: str, unraisable: list[Any]) -> str:
    if isinstance(raised, INJECTION.error):
        if INJECTION.when == "entering" or error == "interrupt":
            return ""
        steps = traceback.extract_tb(raised.__traceback__)[::-1]
        return "raised: " + " < ".join(f"{step.name}:{step.lineno}" for step in steps)
    if raised is not None:
        return f"raised {raised!r}"
    if error == "interrupt" and not unraisable:
        return "an interrupt was swallowed"
    return "" if equal else "computes something else"


def _works_again() -> str:
    try:
        with guard(report=False) as g:
            torch.ones(1).item()
    except BaseException as error:
        return f"; the next guard raises {error!r}"
    counts = [found.count for found in g.report.reads]
    return "" if counts == [1] and not g.report.notices else f"; the next guard counts {counts}, notices {g.report.notices}"


def main(error: str, guards: int, part: int, parts: int) -> dict[str, Any]:
    """Break everything, one thing at a time, under the first so many guards."""
    for options in GUARDS[:guards]:  # the probes are made once and kept
        with guard(report=False, **options):
            pass
    functions: dict[Target, list[FunctionType]] = {}
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename.startswith(HERE):
            functions.setdefault(target_of(one.__code__), []).append(one)
    wanted = run()
    gc.collect()
    gc.freeze()  # the guard looks through all objects for the program's tensors, a thousand times: not through PyTorch's own
    done: set[tuple[Target, str]] = set()
    problems: dict[str, str] = {}
    broken = 0
    for options in GUARDS[:guards]:
        INJECTION.when = ""
        for target, phase in called(options):
            if (target, phase) in done or target not in functions or target[2] in KERNEL.get(target[0], ()):
                continue
            done.add((target, phase))
            if len(done) % parts != part:
                continue
            broken += 1
            INJECTION.functions, INJECTION.when = functions[target], phase
            found = outcome(options, wanted, error)
            if found:
                problems[f"{phase} {target[0]}:{target[1]} {target[2]} {options}"] = found
    return {"broken": broken, "problems": problems}


if __name__ == "__main__":
    from faults.everywhere import main as itself  # the module that broken functions import, not a second one

    print(json.dumps(itself(sys.argv[1], *map(int, sys.argv[2:5]))))
