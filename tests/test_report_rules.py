"""The rules: every finding has one that fits, weighs what it should, and says what to do about the user's own line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from report_samples import Samples
from tensorwatch_guard.cli import main
from tensorwatch_guard.operations import OPERATIONS
from tensorwatch_guard.rules import BY_ID, RULES, advice, rule_for, severity_of
from tensorwatch_guard.words import KINDS, Finding, Site

PAGE = Path(__file__).resolve().parents[1] / "docs" / "rules.md"


def test_rules_are_numbered_once_by_chapter():
    assert len(BY_ID) == len(RULES)
    assert [rule.id for rule in RULES] == sorted(BY_ID)
    assert len({rule.slug for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert re.fullmatch(r"TWG[1-9]\d\d", rule.id)
        assert re.fullmatch(r"[a-z-]+", rule.slug)
        assert rule.why.endswith("."), rule.id
        assert rule.remedy, rule.id
        assert rule.allow in {"", *KINDS}, rule.id


def test_the_docs_page_is_what_the_tables_say():
    done = subprocess.run(
        [sys.executable, "-m", "tensorwatch_guard.rules"], capture_output=True, text=True, check=True
    )
    assert PAGE.read_text(encoding="utf-8") == done.stdout, (
        "python -m tensorwatch_guard.rules > docs/rules.md"
    )
    for rule in RULES:
        assert f'<a id="{rule.id.lower()}"></a>' in done.stdout


def test_every_operation_that_waits_has_a_rule_of_its_own():
    waiting = [row for row in OPERATIONS if row.waits != "never" or row.waits_call is not None]
    assert len(waiting) > 30
    vague = {row.name for row in waiting if rule_for("sync", row.name, row.implicit).id == "TWG200"}
    assert vague == set()


@pytest.mark.parametrize(
    ("kind", "op", "details", "rule"),
    [
        ("transfer", "Tensor.to", {"direction": "h2d", "blocking": True}, "TWG101"),
        ("transfer", "Tensor.cpu", {"direction": "d2h", "blocking": True}, "TWG102"),
        ("transfer", "Tensor.to", {"direction": "d2d"}, "TWG103"),
        ("transfer", "Module.to", {"direction": "h2d"}, "TWG104"),
        ("transfer", "torch.tensor", {"direction": "h2d"}, "TWG105"),
        ("transfer", "Tensor.to", {"direction": "h2d", "non_blocking": True, "blocking": True}, "TWG106"),
        ("transfer", "Tensor.__getitem__", {"direction": "h2d"}, "TWG107"),
        ("transfer", "Tensor.to", {"direction": "h2d", "non_blocking": True, "blocking": False}, "TWG108"),
        ("sync", "Tensor.__bool__", {}, "TWG202"),
        ("sync", "torch.cuda.synchronize", {}, "TWG220"),
        ("sync", "torch.cuda.Event.synchronize", {}, "TWG221"),
        ("sync", "torch.some_new_op", {}, "TWG200"),
        ("sync", "torch.some_new_op", {"seen_by": ["trace"]}, "TWG211"),
        ("sync", "torch.some_new_op", {"seen_by": ["calls", "trace"]}, "TWG200"),
        ("alias", "Tensor.numpy", {"direction": "tensor->array"}, "TWG301"),
        ("alias", "torch.from_numpy", {"direction": "array->tensor"}, "TWG302"),
        ("alias", "torch.Tensor", {"direction": "array->tensor"}, "TWG303"),
        ("alias", "torch.from_dlpack", {"direction": "array->tensor"}, "TWG304"),
        ("mutation", "write", {"writer": "numpy"}, "TWG401"),
        ("mutation", "write", {"writer": "unknown"}, "TWG403"),
        ("hazard", "backward", {"type": "stale-gradient", "certain": True}, "TWG501"),
        ("hazard", "backward", {"type": "stale-gradient", "certain": False}, "TWG502"),
        ("hazard", "Tensor.resize_", {"type": "dangling-alias", "certain": True}, "TWG503"),
        ("hazard", "x", {"type": "something-new"}, "TWG509"),
    ],
)
def test_the_rule_that_fits(kind: str, op: str, details: dict[str, Any], rule: str):
    assert rule_for(kind, op, False, details).id == rule


def test_a_kind_of_the_future_has_no_rule_and_no_error():
    assert rule_for("telepathy", "x").severity == "note"


REFUSED = {
    "a tensor without memory": ("TWG601", lambda: torch.empty(3, device="meta").numpy()),
    "a gradient": ("TWG602", lambda: torch.ones(2, requires_grad=True).numpy()),
    "a gradient, DLPack": ("TWG602", lambda: np.from_dlpack(torch.ones(2, requires_grad=True))),
    "item of three": ("TWG603", lambda: torch.ones(3).item()),
    "bool of three": ("TWG603", lambda: bool(torch.ones(3))),
    "float of three": ("TWG603", lambda: float(torch.ones(3))),
    "index of two": ("TWG603", lambda: [1][torch.ones(2, dtype=torch.int64)]),
    "a reversed array": ("TWG604", lambda: torch.from_numpy(np.arange(4.0)[::-1])),
    "bfloat16": ("TWG605", lambda: torch.ones(2, dtype=torch.bfloat16).numpy()),
    "strings": ("TWG605", lambda: torch.from_numpy(np.array(["a"]))),
    "foreign byte order": ("TWG605", lambda: torch.from_numpy(np.ones(1, ">f4"))),
    "copy=False": ("TWG606", lambda: torch.asarray(np.ones(2), dtype=torch.float32, copy=False)),
    "sparse": ("TWG607", lambda: torch.ones(2).to_sparse().numpy()),
    "a pending conjugate": ("TWG607", lambda: torch.ones(2, dtype=torch.complex64).conj().numpy()),
    "a list": ("TWG609", lambda: torch.from_numpy([1])),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_told_apart_by_what_pytorch_really_says(case: str):
    rule, convert = REFUSED[case]
    with pytest.raises((RuntimeError, TypeError, ValueError, BufferError)) as caught:
        convert()
    details = {"exception": type(caught.value).__name__, "message": str(caught.value)}
    assert rule_for("refusal", "Tensor.numpy", False, details).id == rule


@pytest.mark.parametrize(
    ("rule", "count", "steps", "consumed", "severity"),
    [
        ("TWG201", 312, 312, False, "warning"),
        ("TWG201", 4, 312, False, "note"),
        ("TWG201", 1, 4, False, "warning"),
        ("TWG201", 1, 0, False, "warning"),
        ("TWG104", 1, 0, False, "note"),
        ("TWG104", 1, 4, False, "note"),
        ("TWG104", 312, 312, False, "warning"),
        ("TWG220", 2, 312, False, "note"),
        ("TWG231", 10_000, 312, False, "note"),
        ("TWG301", 10_000, 312, False, "note"),
        ("TWG401", 1, 312, False, "warning"),
        ("TWG401", 1, 312, True, "error"),
        ("TWG501", 1, 312, False, "error"),
        ("TWG502", 312, 312, False, "note"),
        ("TWG503", 1, 0, False, "critical"),
        ("TWG221", 312, 312, False, "note"),
    ],
)
def test_weights(rule: str, count: int, steps: int, consumed: bool, severity: str):
    assert severity_of(BY_ID[rule], count=count, steps=steps, consumed=consumed) == severity


@pytest.mark.parametrize(("at_steps", "severity"), [(1, "note"), (15, "note"), (16, "warning"), (312, "warning")])
@pytest.mark.parametrize("count", [20, 312, 5000])
def test_many_at_few_steps_weigh_less(count: int, at_steps: int, severity: str):
    assert severity_of(BY_ID["TWG102"], count=count, steps=312, at_steps=at_steps) == severity
    assert severity_of(BY_ID["TWG102"], count=count, steps=312) == "warning"


def finding(kind: str, op: str, source: str, function: str = "fit", via: tuple[str, ...] = (), **details: Any):
    rule = rule_for(kind, op, False, details)
    site = Site("gone.py", 1, 1, 0, len(source), function, source)
    return rule, Finding("1", kind, op, rule.id, rule.severity, site, via=via, details=details)


@pytest.mark.parametrize(
    ("kind", "op", "source", "details", "words"),
    [
        ("sync", "Tensor.item", "loss.item()", {}, "keep loss.detach() and read it every N steps"),
        ("sync", "Tensor.__float__", "float(loss)", {}, "keep loss.detach()"),
        ("sync", "Tensor.__float__", "float(sum(a) / len(a))", {}, "keep (sum(a) / len(a)).detach()"),
        ("sync", "Tensor.item", "loss.mean().item()", {}, "keep loss.mean() and read"),
        ("sync", "Tensor.tolist", "batch.tolist()", {}, "keep batch on the device and fetch it once"),
        ("sync", "Tensor.item", "scaler.step(optimizer)", {}, "fused=True"),
        ("sync", "Tensor.__bool__", "loss > 1", {}, "torch.where"),
        ("sync", "torch.nonzero", "mask.nonzero()", {}, "nonzero_static"),
        (
            "transfer",
            "Tensor.to",
            "x.to(device)",
            {"direction": "h2d"},
            "pin x (DataLoader(pin_memory=True))",
        ),
        (
            "transfer",
            "Tensor.to",
            "x.to(device)",
            {"direction": "h2d", "pinned": True},
            "pass non_blocking=True",
        ),
        (
            "transfer",
            "Tensor.to",
            "torch.randn(8).to(device)",
            {"direction": "h2d"},
            "torch.randn(..., device=device)",
        ),
        ("transfer", "Tensor.to", "x.to(d)", {"direction": "h2d", "function": "Rows.__getitem__"}, "move whole batches"),
        ("transfer", "torch.as_tensor", "torch.as_tensor(seen, device=d)", {"direction": "h2d"}, "new ones: many in one copy"),
        ("transfer", "torch.tensor", "torch.tensor([0, 1], device=d)", {"direction": "h2d"}, "once, outside the loop"),
        ("transfer", "Tensor.__setitem__", "rows[i]", {"direction": "h2d"}, "what is assigned stands on the host"),
        ("transfer", "Tensor.__getitem__", "rows[i]", {"direction": "h2d"}, "keep the index or scalar on the device"),
        ("sync", "Tensor.__bool__", "Normal(mean, std)", {}, "validate_args=False"),
        ("sync", "Tensor.__bool__", "clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)", {}, "error_if_nonfinite=False"),
        ("sync", "Tensor.item", "lr_sched.step(loss)", {}, "give the scheduler a host number"),
        ("sync", "Tensor.item", "optimizer.step(closure)", {}, "L-BFGS"),
        ("sync", "Tensor.item", "(total / count).item()", {}, "keep (total / count).detach()"),
        ("sync", "x", "rows[mask]", {"seen_by": ["trace"], "via": ("C++",)}, "torch.where(mask, x, 0)"),
        ("sync", "x", "one_hot(y)", {"seen_by": ["trace"], "via": ("C++",)}, "pass num_classes"),
        ("sync", "x", "loss.backward()", {"seen_by": ["trace"], "via": ("backward",)}, "keep the shape in the forward pass"),
        ("sync", "x", "f(y)", {"seen_by": ["trace"], "via": ("torch.nn.functional.ctc_loss",)}, "waits in torch.nn.functional"),
        ("refusal", "Tensor.numpy", "x.numpy()", {"message": "requires grad"}, "x.detach().numpy()"),
        ("refusal", "Tensor.numpy", "x.numpy()", {"message": "Use Tensor.cpu() to copy"}, "x.cpu().numpy()"),
    ],
)
def test_advice_names_what_stands_in_the_line(
    kind: str, op: str, source: str, details: dict[str, Any], words: str
):
    assert words in advice(*finding(kind, op, source, **details))


@pytest.mark.parametrize(
    ("line", "source", "order"),
    [
        ("h.append(w.detach().numpy())", "w.detach().numpy()", "w.detach().numpy().copy()"),
        ("x = torch.from_numpy(buffer)", "torch.from_numpy(buffer)", "torch.from_numpy(buffer).clone()"),
        ("a = np.asarray(t)", "np.asarray(t)", "np.asarray(t).copy()"),
        (
            "best = {k: v.numpy() for k, v in net.state_dict().items()}",
            "v.numpy()",
            "v.numpy().copy()",
        ),
        ("best = net.state_dict()", "net.state_dict()", "copy.deepcopy(net.state_dict())"),
        ("m.load_state_dict(sd, assign=True)", "m.load_state_dict(sd, assign=True)", "assign=False"),
    ],
)
def test_later_writes_are_mended_where_the_memory_was_handed_out(
    tmp_path: Path, line: str, source: str, order: str
):
    samples = Samples(tmp_path)
    file = tmp_path / "other.py"
    file.write_text(line + "\n", encoding="utf-8")
    at = line.index(source)
    alias = samples.finding(
        "alias",
        "x",
        Site(str(file), 1, 1, at, at + len(source), "fit", source),
        details={"direction": "array->tensor"},
    )
    assert order in samples.write(alias).advice


def test_an_in_place_operation_is_shown_its_copying_form(tmp_path: Path):
    samples = Samples(tmp_path)
    alias = samples.alias()
    site = Site("gone.py", 9, 9, 8, 22, "__getitem__", "image /= 255.0")
    mutation = samples.finding(
        "mutation",
        "write",
        site,
        details={"writer": "torch", "exact": True},
        related=samples.write(alias).related,
    )
    assert "image = image / ..." in mutation.advice


def test_the_command_line_explains_rules(capsys: pytest.CaptureFixture[str]):
    assert main(["rules", "twg501"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("TWG501 stale-gradient (error): ")
    assert "  to allow it: # tensorwatch: allow[hazard] your reason" in told
    assert main(["rules"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [rule.id for rule in RULES]
    assert main(["rules", "TWG999"]) == 1
    assert "there is no rule TWG999" in capsys.readouterr().err
