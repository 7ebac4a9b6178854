"""Runs each program of programs/ by turns bare and under the guard, and holds them equal."""

from __future__ import annotations

import difflib
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from children import Outcome, run

HERE = Path(__file__).resolve().parent / "programs"
NAMES = (
    "ppo", "dqn", "skorch_digits", "sklearn_pipeline", "lightning_fit", "hf_trainer", "accelerate_loop", "torchmetrics_loop",
)  # fmt: skip


@dataclass
class Compared:
    """One program, run both ways several times."""

    name: str
    about: str
    bare: list[Outcome] = field(default_factory=list)
    guarded: list[Outcome] = field(default_factory=list)

    @property
    def repeats(self) -> bool:
        """Whether bare runs agree among themselves; without it, equality says nothing."""
        return len({outcome.told for outcome in self.bare}) == 1

    @property
    def equal(self) -> bool:
        """Whether all guarded runs ended, printed and warned as the bare ones did."""
        return {outcome.told for outcome in self.guarded} == {self.bare[0].told}

    def ratio(self, what: str) -> tuple[float, float]:
        """Median of guarded over bare, each pair of neighbours, and the distance between least and most."""
        pairs = ((getattr(one, what), getattr(two, what)) for one, two in zip(self.bare, self.guarded, strict=True))
        ratios = [guarded / bare for bare, guarded in pairs if bare and guarded]  # a run that failed has no time
        return (statistics.median(ratios), max(ratios) - min(ratios)) if ratios else (0.0, 0.0)

    def middle(self, what: str) -> float:
        """Median of the bare runs."""
        return statistics.median(getattr(outcome, what) or 0.0 for outcome in self.bare)

    def difference(self) -> list[str]:
        """Lines that the first run that differs from the first bare one printed otherwise."""
        for outcome in (*self.bare, *self.guarded):
            if outcome.told != self.bare[0].told:
                one, two = ("\n".join(map(str, told)).splitlines() for told in (self.bare[0].told, outcome.told))
                return list(difflib.unified_diff(one, two, "first bare", "this one", lineterm="", n=0))[:40]
        return []


def compare(name: str, folder: Path, turns: int) -> Compared:
    """Run it ``turns`` times each way."""
    file = HERE / f"{name}.py"
    found = Compared(name, file.read_text().split('"""')[1].strip())
    for _turn in range(turns):
        found.bare.append(run([str(file)], folder / name / "bare", guarded=False))
        found.guarded.append(run([str(file)], folder / name / "guarded", guarded=True))
    return found
