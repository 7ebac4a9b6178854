"""Runs third-party programs and test suites bare and under TENSORWATCH_GUARD=1, and writes docs/compatibility.md.

python compat/page.py [--turns N] [--no-suites] [--no-page] [--folder FOLDER] [PROGRAM ...]

The exit code is 1 when something differed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections import Counter
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from programs import NAMES, Compared, compare
from suites import SUITES, SuiteRun, run_suite

TOP = Path(__file__).resolve().parent.parent
PACKAGES = (
    "torch", "numpy", "stable-baselines3", "gymnasium", "skorch", "scikit-learn", "lightning", "transformers", "accelerate",
    "torchmetrics",
)  # fmt: skip
HEAD = """<!-- Written by `make compat`: do not edit, run it. -->
# Compatibility

Programs of other people's libraries, with nothing in them that knows of the guard, run bare and under
`TENSORWATCH_GUARD=1`, each run in a process of its own. *Equal* means: every run ended with the same exit code, printed the
same output (all losses in full, a hash of all parameters, the state of the random generators), and gave the same warnings;
names of temporary files and progress bars are left out of it. The programs are in `compat/programs`.

*Training* is the processor time of what the program itself does, guarded over bare, *process* that of the whole process, with
all imports and the report. Bare and guarded runs take turns; a ratio is the median over the pairs, and behind it stands the
distance between the least and the greatest.

What the guard may spend on looking at memory is a share of wall time: where other work takes the processors (see the load),
processor time buys less of the program and the ratios come out larger than on an idle machine.
"""


def where() -> str:
    """Date, machine and versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}; {platform.system()} {platform.release().split('-')[0]} {platform.machine()}, "
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end; Python {platform.python_version()}, "
        "one thread.\n"
        f"{versions}."
    )


def program_row(found: Compared) -> str:
    """One line of the table."""
    training, process = found.ratio("training"), found.ratio("seconds")
    equal = ("yes" if found.equal else "**no**") if found.repeats else "bare runs differ"
    told = found.guarded[-1].found
    return (
        f"| {found.about} | {equal} | {found.middle('training'):.1f} s | {training[0]:.3f} ({training[1]:.3f}) "
        f"| {process[0]:.3f} ({process[1]:.3f}) | {verdict(found)} | {counts(told)} |"
    )


def verdict(found: Compared) -> str:
    """What the report says is to be mended."""
    findings = found.guarded[-1].found.get("findings", ())
    told = (one for one in findings if one["severity"] != "note" and not one["allowed"])
    worse = Counter(f"{one['severity']} {one['rule']}" for one in told)
    return ", ".join(f"{count} x {what}" for what, count in sorted(worse.items())) or "nothing to mend"


def counts(report: dict[str, Any]) -> str:
    """Happenings of each kind."""
    totals = report.get("totals", {})
    kinds = ("read", "alias", "mutation", "hazard", "refusal")
    return ", ".join(f"{totals[kind]:,} {kind}" for kind in kinds if totals.get(kind))


def suite_row(one: SuiteRun) -> str:
    """One line of the table of suites."""
    ends = Counter(one.bare_tests.values())
    bare = ", ".join(f"{count} {what}" for what, count in ends.most_common())
    same = "yes" if not one.differing and one.bare.code == one.guarded.code else f"**no** ({len(one.differing)})"
    ratio = one.guarded.seconds / one.bare.seconds
    return f"| {one.suite.name} {version(one.suite.name)} | {bare} | {same} | {one.bare.seconds:.0f} s | {ratio:.2f} |"


def page(programs: list[Compared], suites: list[SuiteRun]) -> str:
    """The page."""
    lines = [HEAD, where(), "", "## Programs", ""]
    lines += ["| program | equal | bare training | training | process | report | seen |", "|---|---|---|---|---|---|---|"]
    lines += map(program_row, programs)
    for found in programs:
        if found.difference():
            lines += ["", f"`{found.name}` differs:", "", "```diff", *found.difference(), "```"]
    lines += ["", "## Test suites", ""]
    lines += ["The packages' own tests, as far as `compat/suites.py` selects them: without those that load models from a hub"]
    lines += ["or take many minutes. *Same* compares the outcome of each single test.", ""]
    lines += ["| suite | bare | same | bare time | process |", "|---|---|---|---|---|"]
    lines += map(suite_row, suites)
    if not suites:
        lines[-2:] = ["Not run for this page."]
    for one in suites:
        if one.differing:
            lines += ["", f"{one.suite.name}, bare -> guarded:", "", *(f"- {line}" for line in one.differing)]
    lines += ["", "## The reports", ""]
    for found in programs:
        lines += [f"`{found.name}`", "", "```", found.guarded[-1].report.strip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Run, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="runs of each program each way")
    parser.add_argument("--no-suites", action="store_true")
    parser.add_argument("--no-page", action="store_true", help="only print")
    parser.add_argument("--folder", type=Path, default=TOP / ".compat")
    parser.add_argument("programs", nargs="*", choices=[[], *NAMES], metavar="PROGRAM")
    asked = parser.parse_args()
    programs, suites = [], []
    for name in asked.programs or NAMES:
        found = compare(name, asked.folder, asked.turns)
        programs.append(found)
        print(program_row(found), *found.difference(), sep="\n", flush=True)
    for suite in () if asked.no_suites else SUITES:
        suites.append(run_suite(suite, asked.folder))
        print(suite_row(suites[-1]), *suites[-1].differing, sep="\n", flush=True)
    if not asked.no_page:
        (TOP / "docs" / "compatibility.md").write_text(page(programs, suites))
    sys.exit(not all(found.equal for found in programs) or any(one.differing for one in suites))


if __name__ == "__main__":
    main()
