"""Runs the test suites of third-party packages bare and under the guard, and compares what passed and what failed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from children import Outcome, run


@dataclass(frozen=True)
class Suite:
    """One package's tests: installed with it (``tests`` is a package), or in its source distribution (a folder there)."""

    name: str
    tests: tuple[str, ...]
    from_source: bool = False
    options: tuple[str, ...] = ()

    def command(self, own: Path) -> list[str]:
        """Pytest's arguments; an installed package's tests are run from an empty folder, without any configuration."""
        if self.from_source:
            return [*self.options, *self.tests]
        return [*self.options, "-c", os.devnull, "--rootdir", str(own), "--pyargs", *self.tests]


STABLE_BASELINES = tuple(
    f"tests/test_{name}.py"
    for name in (
        "buffers", "custom_policy", "deterministic", "gae", "n_step_replay", "predict", "run", "save_load", "sde", "spaces",
        "train_eval_mode", "vec_normalize",
    )
)  # fmt: skip
"""Where tensors and arrays meet; the whole suite takes an hour."""
SKORCH_LEFT_OUT = "TorchCompile or Huggingface or ZeroShot or FewShot or Tokenizer or DistributedHistory"
"""Tests that load models from a hub, and some that take minutes each (inductor; many interpreters started)."""
SUITES = (
    Suite("skorch", ("skorch.tests",), options=("-k", f"not ({SKORCH_LEFT_OUT})")),
    Suite("stable-baselines3", STABLE_BASELINES, from_source=True, options=("-m", "not expensive")),
)


@dataclass
class SuiteRun:
    """What both runs of one suite told."""

    suite: Suite
    bare: Outcome
    guarded: Outcome
    bare_tests: dict[str, str]
    guarded_tests: dict[str, str]

    @property
    def differing(self) -> list[str]:
        """Tests that ended otherwise."""
        names = dict.fromkeys((*self.bare_tests, *self.guarded_tests))
        ends = ((name, self.bare_tests.get(name, "not run"), self.guarded_tests.get(name, "not run")) for name in names)
        return [f"{name}: {one} -> {two}" for name, one, two in ends if one != two]


def source(suite: Suite, folder: Path) -> Path:
    """The unpacked source distribution of the version that is installed."""
    pinned = f"{suite.name}=={version(suite.name)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--no-binary", suite.name, "--dest", str(folder), pinned]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = (path.parent for path in folder.glob("*/PKG-INFO"))
    return unpacked


def run_suite(suite: Suite, folder: Path) -> SuiteRun:
    """Bare first, then under the guard; the same command in the same place."""
    own = folder / suite.name
    own.mkdir(parents=True, exist_ok=True)
    cwd = source(suite, own) if suite.from_source else own
    ends = []
    for guarded in (False, True):
        results = own / ("guarded.xml" if guarded else "bare.xml")
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:tensorwatch_guard", f"--junitxml={results}"]
        command += suite.command(own)
        outcome = run(command, own / ("guarded" if guarded else "bare"), guarded=guarded, cwd=cwd)
        ends.append((outcome, tests_in(results)))
    (bare, bare_tests), (guarded_end, guarded_tests) = ends
    return SuiteRun(suite, bare, guarded_end, bare_tests, guarded_tests)


def tests_in(results: Path) -> dict[str, str]:
    """Test -> passed, failed, error or skipped, out of pytest's own file."""
    found: dict[str, str] = {}
    for case in ET.parse(results).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        name = f"{case.get('classname')}::{case.get('name')}"
        ends = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        found[name] = "+".join(sorted({found[name], *(ends or ["passed"])})) if name in found else (ends or ["passed"])[0]
    return found
