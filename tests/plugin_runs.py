"""Runs of pytest inside tests, with the plugin as it is installed, or by its module where it is not."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import torch

import tensorwatch_guard

if TYPE_CHECKING:
    import pytest

SOURCES = os.path.dirname(os.path.dirname(tensorwatch_guard.__file__))
INSTALLED = any(point.name == "tensorwatch_guard" for point in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "tensorwatch_guard.pytest_plugin")
PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "ignore::pytest.PytestAssertRewriteWarning")


_LEFT_OUT = ("__main__", "_bootstrap")


def _load_all() -> None:
    """An inner run forgets the modules it imported: with all of ours (and torch's) loaded, there are none."""
    for found in pkgutil.walk_packages(tensorwatch_guard.__path__, "tensorwatch_guard."):
        if found.name.rpartition(".")[2] not in _LEFT_OUT:
            with contextlib.suppress(ImportError):  # what needs a framework that is not there
                importlib.import_module(found.name)
    with torch.device("cpu"):
        torch.ones(1, requires_grad=True).sum().backward()


_load_all()


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """In this process: torch is loaded already."""
    return pytester.runpytest_inprocess(*PLUGIN, *PLAIN, *args)


def run_child(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """In a process of its own."""
    return pytester.runpytest_subprocess(*PLUGIN, *PLAIN, *args)
