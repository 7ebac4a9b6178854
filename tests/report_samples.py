"""Findings and reports as a real training gives them, with their source files, for the tests of reports."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tensorwatch_guard.report.model import Report
from tensorwatch_guard.rules import advice, rule_for, severity_of
from tensorwatch_guard.words import Finding, Related, RunInfo, Site

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = """\
import numpy as np
import torch

buffer = np.arange(1, 5001, dtype=np.float32)


def refill(step):
    buffer[:] = step * 100.0


def fit(model, optimizer, loader, device):
    history = []
    inputs = torch.from_numpy(buffer)
    model.to(device)
    try:
        model.scale.numpy()
    except RuntimeError:
        pass
    for step, (x, y) in enumerate(loader):
        x = x.to(device)
        y = torch.randint(0, 4, (8,)).to(device)
        loss = torch.nn.functional.cross_entropy(model(x), y) + (model.scale * inputs).sum()
        refill(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(model.weight.detach().numpy())
        if loss > 100:
            break
        print(f"step {step}: loss {loss.item():.4f}, right {(model(x).argmax(1) == y).float().mean().item():.3f}")
        weights = model.scale.cpu()
        if step % 100 == 0:
            loss.item()  # tensorwatch: allow[sync] metrics every 100 steps
    return history
"""
STEPS = 312


class Samples:
    """Findings in a ``train.py`` that really stands in ``folder``."""

    def __init__(self, folder: Path, steps: int = STEPS) -> None:
        self.file = folder / "train.py"
        self.file.write_text(TRAIN, encoding="utf-8")
        self.steps = steps

    def site(self, text: str, function: str = "fit", nth: int = 0) -> Site:
        """The site of an expression of TRAIN."""
        at = -1
        for _ in range(nth + 1):
            at = TRAIN.index(text, at + 1)
        line = TRAIN.count("\n", 0, at) + 1
        column = at - (TRAIN.rfind("\n", 0, at) + 1)
        return Site(str(self.file), line, line, column, column + len(text), function, text)

    def finding(
        self, kind: str, op: str, site: Site | None, *, consumed: bool = False, **fields: Any
    ) -> Finding:
        """A finding with id, rule, severity, rate and advice as a guard would give them."""
        count = fields.setdefault("count", self.steps)
        details = fields.get("details", {})
        rule = rule_for(
            kind, op, fields.get("implicit", False), {"blocking": fields.get("blocking", False), **details}
        )
        fields.setdefault("severity", severity_of(rule, count=count, steps=self.steps, consumed=consumed))
        fields.setdefault("per_step", round(count / self.steps, 4) if self.steps else 0.0)
        fields.setdefault("threads", ("MainThread",))
        fields.setdefault("last_step", self.steps - 1 if count > 1 else 0)
        key = f"{kind} {op} {site and (site.function, site.source)} {fields.get('origin')}"
        made = Finding(
            hashlib.blake2b(key.encode(), digest_size=8).hexdigest(), kind, op, rule.id, site=site, **fields
        )
        return replace(made, advice=made.advice or advice(rule, made))

    # -- single findings -----------------------------------------------------------------------------------------------

    def item(self, **fields: Any) -> Finding:
        given = {
            "bytes": 4 * self.steps,
            "blocked_s": 1.61,
            "blocking": True,
            "details": {"device": "cuda:0"},
        } | fields
        return self.finding("sync", "Tensor.item", self.site("loss.item()"), **given)

    def mean_item(self, **fields: Any) -> Finding:
        site = self.site("(model(x).argmax(1) == y).float().mean().item()")
        given = {"blocked_s": 0.21, "blocking": True, "details": {"device": "cuda:0"}} | fields
        return self.finding("sync", "Tensor.item", site, **given)

    def condition(self) -> Finding:
        return self.finding(
            "sync", "Tensor.__bool__", self.site("loss > 100"), implicit=True, blocking=True, blocked_s=0.02,
            details={"device": "cuda:0"},
        )  # fmt: skip

    def to_device(self, **fields: Any) -> Finding:
        details = {"direction": "h2d", "src": "cpu", "dst": "cuda:0", "pinned": False, "non_blocking": False}
        given = {
            "bytes": 393_216 * self.steps,
            "blocked_s": 0.4,
            "blocking": True,
            "details": details,
        } | fields
        return self.finding("transfer", "Tensor.to", self.site("x.to(device)"), **given)

    def made_on_host(self) -> Finding:
        details = {
            "direction": "h2d",
            "src": "cpu",
            "dst": "cuda:0",
            "pinned": False,
            "pattern": "fill-then-move",
        }
        site = self.site("torch.randint(0, 4, (8,)).to(device)")
        return self.finding(
            "transfer",
            "Tensor.to",
            site,
            bytes=64 * self.steps,
            blocking=True,
            blocked_s=0.09,
            details=details,
        )

    def module(self) -> Finding:
        details = {"direction": "h2d", "src": "cpu", "dst": "cuda:0"}
        site = self.site("model.to(device)")
        return self.finding(
            "transfer",
            "Module.to",
            site,
            count=1,
            bytes=44_000_000,
            blocking=True,
            blocked_s=0.012,
            details=details,
        )

    def allowed_item(self) -> Finding:
        return self.finding(
            "sync", "Tensor.item", self.site("loss.item()", nth=1), count=4, blocking=True,
            allowed="metrics every 100 steps",
        )  # fmt: skip

    def read(self, **fields: Any) -> Finding:
        return self.finding("read", "Tensor.item", self.site("loss.item()"), **fields)

    def alias(self, live: int = 1, **fields: Any) -> Finding:
        details = {
            "direction": "array->tensor", "shape": [5000], "dtype": "float32", "nbytes": 20_000,
            "requires_grad": False, "live": live,
        }  # fmt: skip
        given = {"count": 1, "bytes": 20_000, "details": details} | fields
        return self.finding("alias", "torch.from_numpy", self.site("torch.from_numpy(buffer)"), **given)

    def history_alias(self) -> Finding:
        details = {
            "direction": "tensor->array", "shape": [10, 5000], "dtype": "float32", "nbytes": 200_000,
            "requires_grad": True, "live": self.steps,
        }  # fmt: skip
        site = self.site("model.weight.detach().numpy()")
        return self.finding("alias", "Tensor.numpy", site, details=details, bytes=200_000 * self.steps)

    def write(self, alias: Finding, **fields: Any) -> Finding:
        """The exact write of NumPy in ``refill``."""
        details = {
            "writer": "numpy", "exact": True, "region": "[0:5000]", "elements": 5000, "before": "1.0, 2.0, 3.0, ...",
            "after": "100.0, 100.0, 100.0, ...",
        }  # fmt: skip
        related = (Related("shared-by", alias.id, alias.site),)
        given = {"details": details, "related": related, "bytes": 20_000 * self.steps} | fields
        return self.finding("mutation", "write", self.site("buffer[:] = step * 100.0", "refill"), **given)

    def step_write(self, alias: Finding) -> Finding:
        """The inexact write of the optimizer: seen between two lines."""
        first, last = self.site("loss.backward()"), self.site("model.weight.detach().numpy()")
        details = {
            "writer": "torch",
            "exact": False,
            "between": [first, last],
            "region": "[:, :]",
            "elements": 50_000,
        }
        related = (Related("shared-by", alias.id, alias.site),)
        return self.finding("mutation", "write", last, details=details, related=related, count=self.steps - 1)

    def stale(self, write: Finding, alias: Finding, *, certain: bool = True) -> Finding:
        details = {"type": "stale-gradient", "certain": certain, "node": "MulBackward0", "nodes": 1, "handed_out": self.steps}
        related = (Related("written-by", write.id, write.site), Related("shared-by", alias.id, alias.site))
        return self.finding(
            "hazard", "backward", self.site("loss.backward()"), details=details, related=related
        )

    def refusal(self) -> Finding:
        message = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        details = {"exception": "RuntimeError", "message": message}
        return self.finding(
            "refusal", "Tensor.numpy", self.site("model.scale.numpy()"), count=1, details=details
        )

    # -- reports -------------------------------------------------------------------------------------------------------

    def run(self, **fields: Any) -> RunInfo:
        given = {
            "argv": (str(self.file), "--epochs", "1"), "python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6",
            "version": "0.1.0", "host": "node1", "pid": 4711, "started": "2026-01-31T12:00:00+00:00",
            "duration_s": 41.2, "steps": self.steps, "layers": ("calls", "trace"), "writes": "auto", "overhead_s": 0.41,
        } | fields  # fmt: skip
        return RunInfo(**given)

    def report(self, *findings: Finding, **fields: Any) -> Report:
        run = self.run(**fields.pop("run", {}))
        fields.setdefault(
            "blind_spots", ("calls inside compiled regions (2 were entered)", "other processes' writes")
        )
        return Report(run, findings, **fields)

    def broken(self) -> Report:
        """Everything at once: a stale gradient, a history that follows the weights, waits, copies, notes."""
        alias, history = self.alias(), self.history_alias()
        write = self.write(alias, severity="error")
        return self.report(
            self.module(), alias, self.to_device(), self.made_on_host(), write, self.stale(write, alias), history,
            self.step_write(history), self.condition(), self.item(), self.mean_item(), self.allowed_item(),
            self.refusal(),
        )  # fmt: skip

    def slow(self) -> Report:
        """Waits and copies only."""
        return self.report(
            self.module(),
            self.alias(live=0),
            self.to_device(),
            self.condition(),
            self.item(),
            self.mean_item(),
        )

    def clean(self) -> Report:
        """Reads, unwritten sharing and the model's move at the start."""
        return self.report(self.module(), self.alias(), self.read())
