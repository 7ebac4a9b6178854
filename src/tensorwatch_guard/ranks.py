"""Ranks: which process of a distributed run this is, as launchers say it in the environment.

Read when it is asked for and never kept: a process may learn its rank after it has started (``mp.spawn``), and a forked
child is given another one. Imports nothing of the package and never torch itself.
"""

from __future__ import annotations

import os
import sys
from typing import Final

VARIABLES: Final = (
    ("RANK", "WORLD_SIZE"),  # torchrun, Accelerate, Lightning
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # srun; SLURM_NTASKS also stands in a batch script, which is no rank
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
"""The rank and the number of ranks, as launchers name them."""
LOCAL_WORLD_SIZE: Final = "LOCAL_WORLD_SIZE"
_JOB: Final = (
    *("SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
    *("MASTER_ADDR", "MASTER_PORT"),
)
_LAUNCHERS: Final = frozenset({"torchrun", "accelerate", "deepspeed", "launch", "run", "accelerate-launch"})


def rank() -> int | None:
    """The rank of this process; None where there are no ranks."""
    return among()[0]


def world_size() -> int | None:
    """How many ranks there are; None where there are none, or nobody says it."""
    return among()[1]


def among() -> tuple[int | None, int | None]:
    """The rank of this process, and of how many."""
    told = _told()
    return told if told is not None else (_of_group("get_rank"), _of_group("get_world_size"))


def run_id() -> str:
    """What the ranks of one run have in common and two runs have not, as far as the environment knows."""
    parts = [os.environ.get(name, "") for name in _JOB]
    one_host = os.environ.get(LOCAL_WORLD_SIZE, "") == os.environ.get("WORLD_SIZE", "-")
    if one_host:  # torchrun's run id is "none" unless somebody names it; the launcher's process id tells runs apart
        parts.append(str(os.getppid()))
    return "/".join((*parts, str(world_size() or 0)))


def is_launcher() -> bool:
    """Whether this program only starts others: it has nothing to report itself."""
    program = sys.argv[0] if sys.argv else ""
    folder, name = os.path.split(os.path.splitext(program)[0])
    if name in {"launch", "run"}:
        return os.path.basename(folder) in {"distributed", "commands"}
    return name in _LAUNCHERS


def _told() -> tuple[int, int | None] | None:
    for one, all_of_them in VARIABLES:
        number = os.environ.get(one, "")
        if not number.isdigit():
            continue
        count = os.environ.get(all_of_them, "")
        if one == "RANK" or (count.isdigit() and int(count) > 1):
            return int(number), int(count) if count.isdigit() else None
    return None


def _of_group(question: str) -> int | None:
    """What the process group says, where torch has one: ranks of ``mp.spawn`` stand in no variable."""
    module = sys.modules.get("torch.distributed")
    try:
        if module is None or not module.is_available() or not module.is_initialized():
            return None
        return int(getattr(module, question)())
    except (AttributeError, RuntimeError, ValueError):  # half imported, or the group is going away
        return None
