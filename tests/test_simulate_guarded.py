"""The guard on the simulated device: it sees what it would see on a real one, and the examples show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"


def guarded(tmp_path: Path, *target: str) -> tuple[dict[str, Any], str]:
    """(the report, standard output) of a script under ``run --simulate cuda``."""
    file = tmp_path / f"{Path(target[-1]).stem}.json"
    command = [
        sys.executable,
        "-m",
        "tensorwatch_guard",
        "run",
        "--simulate",
        "cuda",
        "--json",
        str(file),
        *target,
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("TENSORWATCH")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, check=False, cwd=tmp_path, env=env
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout


def test_findings_name_the_device_the_bytes_and_the_line(tmp_path: Path) -> None:
    script = tmp_path / "moves.py"
    script.write_text(
        "import torch\n"
        "pageable, pinned = torch.ones(4), torch.ones(4).pin_memory()\n"
        "a = pageable.to('cuda', non_blocking=True)\n"
        "b = pinned.to('cuda', non_blocking=True)\n"
        "c = a.cpu()\n"
        "a.sum().item()\n"
        "torch.cuda.synchronize()\n"
        "a[a > 0]\n"
        "try:\n"
        "    a.numpy()\n"
        "except TypeError:\n"
        "    pass\n"
    )
    report, _ = guarded(tmp_path, str(script))
    found = {(f["kind"], f["site"]["line"]): f for f in report["findings"] if f["site"]}
    for line, direction, pinned, blocking in (
        (3, "h2d", False, True),
        (4, "h2d", True, False),
        (5, "d2h", False, True),
    ):
        finding = found["transfer", line]
        details = finding["details"]
        assert (details["direction"], details["pinned"], finding["blocking"]) == (direction, pinned, blocking)
        assert finding["bytes"] == 16
        assert "cuda:0 (simulated)" in (details["src"], details["dst"])
    assert {line for kind, line in found if kind == "sync"} == {6, 7, 8}
    assert ("refusal", 10) in found


def test_the_digits_example_is_mended_and_learns_the_same(tmp_path: Path) -> None:
    wrong, wrong_output = guarded(tmp_path, str(EXAMPLES / "train_digits_gpu.py"))
    mended, mended_output = guarded(tmp_path, str(EXAMPLES / "train_digits_gpu_mended.py"))
    assert wrong_output == mended_output
    assert "right 0.8" in wrong_output
    steps = wrong["run"]["steps"]
    assert steps == mended["run"]["steps"] == 87
    assert wrong["totals"]["blocking"] / steps > 7
    assert mended["totals"]["blocking"] / steps < 0.2
