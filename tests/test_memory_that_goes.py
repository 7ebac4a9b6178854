"""Memory that goes while somebody still has a name for it: nobody reads it any more, we least of all, and it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAMS = {
    "a buffer that grows": """
        import torch
        buffer = bytearray(4 << 20)
        head = torch.frombuffer(buffer, dtype=torch.uint8)
        buffer.extend(bytes(64 << 20))
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "a small buffer that is emptied": """
        import torch
        buffer = bytearray(b"1234" * 16)
        head = torch.frombuffer(buffer, dtype=torch.uint8)
        buffer.clear()
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "an array of the standard library's that grows": """
        import array
        import torch
        buffer = array.array("f", [1.0]) * (1 << 20)
        head = torch.frombuffer(buffer, dtype=torch.float32)
        buffer.extend([2.0] * (1 << 23))
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "a mapping that is closed": """
        import mmap
        import tempfile
        import torch
        file = tempfile.TemporaryFile()
        file.truncate(4 << 20)
        with mmap.mmap(file.fileno(), 0) as mapping:
            records = torch.frombuffer(mapping, dtype=torch.float32)
            print(records.sum().item())
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "a file that is written anew": """
        import numpy as np
        import torch
        np.save("cache.npy", np.ones(50_000, dtype=np.float32))
        old = torch.from_numpy(np.load("cache.npy", mmap_mode="r+"))
        print(old.sum().item())
        np.save("cache.npy", np.ones(10, dtype=np.float32))
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "weights that are saved where they are mapped from": """
        import torch
        torch.save({"w": torch.ones(500_000)}, "w.pt")
        state = torch.load("w.pt", mmap=True)
        array = state["w"].numpy()
        print(array.sum())
        torch.save({"w": torch.ones(10)}, "w.pt")
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "a file that is written anew before anybody looks": """
        import numpy as np
        import torch
        np.save("cache.npy", np.ones(50_000, dtype=np.float32))
        mapped = np.load("cache.npy", mmap_mode="r+")
        np.save("cache.npy", np.ones(10, dtype=np.float32))
        old = torch.from_numpy(mapped)
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "a buffer of a type of one's own": """
        import torch
        class Buffer(bytearray):
            __slots__ = ()
        buffer = Buffer(4 << 20)
        head = torch.frombuffer(buffer, dtype=torch.uint8)
        buffer.clear()
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "memory of C's that is resized": """
        import ctypes
        import numpy as np
        import torch
        memory = (ctypes.c_char * (4 << 20))()
        view = torch.from_numpy(np.frombuffer(memory, np.uint8))
        ctypes.resize(memory, 64 << 20)
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "an array that is resized there and back": """
        import numpy as np
        import torch
        rows = np.ones(1 << 20, dtype=np.float32)
        view = torch.from_numpy(rows)
        rows.resize(1 << 26, refcheck=False)
        rows.resize(1 << 20, refcheck=False)
        for turn in range(3):
            print(turn, torch.ones(3).sum().item())
        """,
    "a small array that is resized in a function": """
        import numpy as np
        import torch
        rows = np.ones(100, dtype=np.float32)
        view = torch.from_numpy(rows)
        def grow(array):
            array.resize(500_000, refcheck=False)
        grow(rows)
        for turn in range(3):
            print(turn, torch.ones(3).sum().item(), rows.shape)
        """,
}


def done(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("mode", ["auto", "exact"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_told_and_the_program_lives(name: str, mode: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAMS[name]))
    plain = done([sys.executable, "program.py"], tmp_path)
    watched = ["-m", "tensorwatch_guard", "run", "--json", "report.json", "--writes", mode, "program.py"]
    guarded = done([sys.executable, *watched], tmp_path)
    assert (guarded.returncode, guarded.stdout) == (plain.returncode, plain.stdout), guarded.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    hazards = [finding for finding in report["findings"] if finding["kind"] == "hazard"]
    assert [hazard["details"]["type"] for hazard in hazards] == ["dangling-alias"]
    assert not [finding for finding in report["findings"] if finding["kind"] == "mutation"]  # what lies there now is nobody's
    assert not [notice for notice in report["notices"] if notice["rule"] == "TWG901"]
    assert "was found gone at program.py" in guarded.stderr.replace("\n        ", " ")


UNTOLD = {
    "a mapped file that is deleted and cut": """
        import os
        import torch
        with open("w.bin", "wb") as file:
            file.write(bytes(1 << 20))
        kept = os.open("w.bin", os.O_RDWR)
        array = torch.from_file("w.bin", True, 1 << 18).numpy()
        os.unlink("w.bin")
        os.ftruncate(kept, 0)
        x = torch.ones(3, requires_grad=True)
        (x * 2).sum().backward()
        print("done")
        """,
    "a kept .data of a buffer that is gone": """
        import torch
        buffer = bytearray(4 << 20)
        weight = torch.frombuffer(buffer, dtype=torch.float32).requires_grad_()
        kept = weight.data
        buffer.clear()
        x = torch.ones(3, requires_grad=True)
        (x * 2).sum().backward()
        print("done")
        """,
}


@pytest.mark.parametrize("mode", ["auto", "exact"])
@pytest.mark.parametrize("name", UNTOLD)
def test_the_program_lives_where_nobody_can_say(name: str, mode: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(UNTOLD[name]))
    guarded = done([sys.executable, "-m", "tensorwatch_guard", "run", "--writes", mode, "program.py"], tmp_path)
    assert (guarded.returncode, guarded.stdout) == (0, "done\n"), guarded.stderr[-2000:]
    assert "TWG901" not in guarded.stderr


def test_what_is_found_gone_in_the_end_says_where_it_was_last(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import torch\n"
        "buffer = bytearray(b'1234' * 16)\n"
        "head = torch.frombuffer(buffer, dtype=torch.uint8)\n"
        "print(head.sum().item())\n"
        "buffer.clear()\n"
    )
    guarded = done([sys.executable, "-m", "tensorwatch_guard", "run", "program.py"], tmp_path)
    assert guarded.returncode == 0
    assert "gone after program.py:4" in guarded.stderr.replace("\n        ", " ")
