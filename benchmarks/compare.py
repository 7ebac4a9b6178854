"""What got slower, or faster: two runs of `make bench`, figure by figure.

    python benchmarks/compare.py OLD NEW [--threshold 10] [--least 3] [--no-fail]

OLD and NEW are folders of JSON (.benchmarks), or two files. A change counts when it is larger than both spreads together
and than ``--least`` per cent; without spreads, larger than ``--threshold`` per cent. Bare times are shown and not judged.

Exit code: 0 when nothing got worse, 1 when something did, 2 when a file is missing, foreign or broken, or when the two
were measured on unlike machines: these are compared all the same, but the figures prove nothing. ``--no-fail`` makes it 0
wherever there was something to compare.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tables import BenchmarkFileError, Cell, Figure, Found, Rows, load

MACHINE = ("system", "processor", "processors")
VERSIONS = ("python", "torch", "numpy")
WORSE, BETTER = "WORSE", "better"


@dataclass(frozen=True, slots=True)
class Limits:
    """Per cent: from where a change counts where no spreads are known, and where they are."""

    threshold: float
    least: float

    def noise(self, old: Figure, new: Figure) -> float:
        """How far the two may lie apart for no reason, in their unit."""
        shown = max(old.grain, new.grain, 10.0**-old.digits)
        if old.spread is None or new.spread is None:
            return max(abs(old.value) * self.threshold / 100, shown)
        return max(old.spread + new.spread, abs(old.value) * self.least / 100, shown)

    def verdict(self, old: Figure, new: Figure) -> str:
        """``WORSE``, ``better``, or nothing."""
        change = new.value - old.value
        if not (old.judged and new.judged) or abs(change) <= self.noise(old, new):
            return ""
        return WORSE if change > 0 else BETTER


def pairs(old: Path, new: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """The files that belong together, and words about those that have no partner."""
    if not old.is_dir() and not new.is_dir():
        return [(old, new)], []
    for path in (old, new):
        if not path.is_dir():
            raise BenchmarkFileError(f"{path} is no folder, and the other one is" if path.exists() else f"there is no {path}")
    names = [{path.name for path in folder.glob("*.json")} for folder in (old, new)]
    for folder, held in zip((old, new), names, strict=True):
        if not held:
            raise BenchmarkFileError(f"{folder} holds no .json file: `make bench` leaves them in .benchmarks")
    common = sorted(names[0] & names[1])
    if not common:
        raise BenchmarkFileError(f"{old} and {new} have no file of the same name")
    alone = [f"{name} is only in {old}" for name in sorted(names[0] - names[1])]
    alone += [f"{name} is only in {new}" for name in sorted(names[1] - names[0])]
    return [(old / name, new / name) for name in common], alone


def unlike(old: Found, new: Found, names: tuple[str, ...]) -> list[str]:
    """In what the two differ, in words."""
    both = [(name, old.machine.get(name), new.machine.get(name)) for name in names]
    return [f"{name} {before} and {after}" for name, before, after in both if before != after]


def change(old: Figure, new: Figure) -> str:
    """Per cent, where there is something to take it of."""
    return "-" if old.value == 0 else f"{(new.value - old.value) / abs(old.value) * 100:+.1f} %"


def lines_of(old: Rows, new: Rows, limits: Limits, seen: Counter[str]) -> list[str]:
    """One table, a line a figure; ``seen`` counts the verdicts."""
    lines = []
    for what in dict.fromkeys((*old, *new)):
        before, after = old.get(what), new.get(what)
        if before is None or after is None:
            lines.append(f"  {what}: only in the {'new' if before is None else 'old'} one")
            continue
        for column, cell in before.items():
            if isinstance(cell, Figure):
                other = after.get(column, "-")
                judged = judge(cell, other, limits, seen)
                lines.append(f"  {what:<56} {column:<16} {cell!s:>12} {other!s:>12}  {judged}".rstrip())
    return lines


def judge(old: Figure, new: Cell, limits: Limits, seen: Counter[str]) -> str:
    """The change and its verdict."""
    if not isinstance(new, Figure) or old.unit != new.unit:
        return f"{'-':>9}  not comparable"
    verdict = limits.verdict(old, new)
    seen[verdict if old.judged and new.judged else "shown"] += 1
    return f"{change(old, new):>9}  {verdict}"


def compare(old: Found, new: Found, limits: Limits, seen: Counter[str]) -> list[str]:
    """All tables of one benchmark."""
    lines = [f"## {old.about}", ""]
    for title in dict.fromkeys((*old.tables, *new.tables)):
        if title in old.tables and title in new.tables:
            head = f"  {'':<56} {'':<16} {'old':>12} {'new':>12}  {'change':>9}"
            lines += [title, head, *lines_of(old.tables[title], new.tables[title], limits, seen), ""]
        else:
            lines += [f"{title}: only in the {'old' if title in old.tables else 'new'} one", ""]
    return lines


def warnings(found: list[tuple[Found, Found]]) -> tuple[list[str], bool]:
    """What lessens the worth of the comparison, and whether the machines differ."""
    machines = list(dict.fromkeys(word for old, new in found for word in unlike(old, new, MACHINE)))
    versions = list(dict.fromkeys(word for old, new in found for word in unlike(old, new, VERSIONS)))
    words = [f"measured on unlike machines, so that no difference proves anything: {'; '.join(machines)}"] if machines else []
    words += [f"not the same versions: {'; '.join(versions)}"] if versions else []
    for name, sides in (("OLD", [old for old, _ in found]), ("NEW", [new for _, new in found])):
        if any(side.quick for side in sides):
            words.append(f"{name} is of a quick run, whose figures are worth little")
        busy = max(float(side.machine.get("load") or 0) for side in sides)
        if busy > int(sides[0].machine.get("processors") or 1):
            words.append(f"{name} was measured on a busy machine (load {busy})")
    return words, bool(machines)


def read(old: Path, new: Path) -> tuple[list[tuple[Found, Found]], list[str]]:
    """What the files hold, pair by pair, and words about those without a partner."""
    files, alone = pairs(old, new)
    found = [(load(one), load(other)) for one, other in files]
    for (one, other), (before, after) in zip(files, found, strict=True):
        if before.about != after.about:
            raise BenchmarkFileError(f"{one} is about {before.about!r}, {other} about {after.about!r}")
    return found, alone


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare two runs of `make bench`.")
    parser.add_argument("old", type=Path, metavar="OLD", help="a folder of JSON files, or one file")
    parser.add_argument("new", type=Path, metavar="NEW", help="the same of the later run")
    for name, default, what in (("threshold", 10.0, "counts without spreads"), ("least", 3.0, "never counts")):
        parser.add_argument(f"--{name}", type=float, default=default, metavar="PERCENT", help=f"what {what} ({default:.0f})")
    parser.add_argument("--no-fail", action="store_true", help="exit with 0 although something got worse")
    return parser.parse_args()


def main() -> int:
    """Print the comparison; returns the exit code."""
    given = arguments()
    seen: Counter[str] = Counter()
    try:
        found, alone = read(given.old, given.new)
    except BenchmarkFileError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    words, other_machine = warnings(found)
    for word in (*words, *alone):
        print(f"compare.py: {word}", file=sys.stderr)
    for old, new in found:
        print("\n".join(compare(old, new, Limits(given.threshold, given.least), seen)))
    print(f"worse: {seen[WORSE]}, better: {seen[BETTER]}, within the noise: {seen['']}, not judged: {seen['shown']}")
    if given.no_fail:
        return 0
    return 2 if other_machine else int(seen[WORSE] > 0)


if __name__ == "__main__":
    sys.exit(main())
