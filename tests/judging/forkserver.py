"""A process that has imported PyTorch and the guard once and forks a child for each command, so that a case does not pay.

PyTorch imports its compiler at a program's first optimizer step, which takes a second: it is imported here too.
``python -m judging.forkserver`` reads one JSON object a line (``arguments`` for ``python -m tensorwatch_guard``,
``folder`` to run in, ``seconds`` at most) and answers with one (``code``, ``stdout``, ``stderr``). The guard's modules
are imported by then; a child is the first that enters one. `ForkServer` is the other end.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

TESTS = Path(__file__).resolve().parent.parent


def _become(order: dict[str, Any], output: tuple[int, int]) -> None:
    """In the child: be ``python -m tensorwatch_guard ARGUMENTS`` in the folder asked for."""
    os.setpgid(0, 0)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output[0], 1)
    os.dup2(output[1], 2)
    os.chdir(order["folder"])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.argv = ["tensorwatch_guard", *order["arguments"]]
    sys.path[:] = [entry for entry in sys.path if entry != str(TESTS)]
    code = 0
    try:
        runpy.run_module("tensorwatch_guard", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End as an interpreter does, but do not take PyTorch's modules apart: in a fork this copies all their memory."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _wait(child: int, seconds: float) -> int:
    """The child's exit code; negative for a signal. After ``seconds`` the child and its own children are killed."""

    def too_long(number: int, frame: Any) -> None:
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    status = os.waitpid(child, 0)[1]
    signal.setitimer(signal.ITIMER_REAL, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # whom the case left behind
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Serve orders until the other end closes."""
    import numpy as np  # noqa: F401
    import torch
    import torch._dynamo
    import torch.utils.data

    import tensorwatch_guard.guard  # imported, not entered: its modules are a fifth of a second
    import tensorwatch_guard.report.text
    import tensorwatch_guard.run  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                _become(order, (out.fileno(), err.fileno()))
                return
            with contextlib.suppress(PermissionError):
                os.setpgid(child, child)
            code = _wait(child, order["seconds"])
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode(errors="replace"))
        print(json.dumps({"code": code, "stdout": texts[0], "stderr": texts[1]}), flush=True)


class ForkServer:
    """The end that gives the orders. One at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        kept = {**environment, "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "judging.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept,
            text=True,
        )

    def run(self, arguments: list[str], folder: Path, seconds: float = 120) -> dict[str, Any]:
        """Run ``python -m tensorwatch_guard ARGUMENTS`` and wait: exit ``code``, ``stdout`` and ``stderr``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"arguments": arguments, "folder": str(folder), "seconds": seconds}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


if __name__ == "__main__":
    main()
