"""What a process is called in a report: ``dataloader worker 1``, ``ForkPoolWorker-3``, ``main`` of a rank."""

from __future__ import annotations

import os
import sys

from .. import ranks


def role(parent_rank: int | None, *, forked: bool) -> str:
    """The role of this process, as far as it is known by now.

    Args:
        parent_rank: the rank of the process that started this one; a rank whose parent has none is a main process.
        forked: it was made by ``fork``, so its ``sys.argv`` is its parent's.
    """
    worker = _worker()
    if worker is not None:
        return f"dataloader worker {worker}"
    if parent_rank is None and ranks.rank() is not None:
        return "main"
    module = sys.modules.get("multiprocessing.process")
    if module is not None and module.parent_process() is not None:
        return str(module.current_process().name)
    if forked:
        return "forked process"
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] not in {"", "-c", "-m"} else "python"
    return f"subprocess {program}"


def _worker() -> int | None:
    module = sys.modules.get("torch.utils.data")
    info = getattr(module, "get_worker_info", lambda: None)()
    return None if info is None else int(info.id)
