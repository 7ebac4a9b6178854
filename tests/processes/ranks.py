"""DDP on the CPU, as a user would write it: ranks.py MODE, below torchrun or with RANK and WORLD_SIZE set.

Modes: ``even``; ``uneven`` (rank 1 has two batches more); ``raise`` (rank 1 breaks in the third step); ``fsdp``.
"""

from __future__ import annotations

import contextlib
import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def sharded() -> torch.nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = torch.nn.Linear(8, 2)
    fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    return model


def train(mode: str) -> None:
    rank = dist.get_rank()
    model = sharded() if mode == "fsdp" else DistributedDataParallel(torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    uneven = mode == "uneven" and isinstance(model, DistributedDataParallel)
    with model.join() if uneven else contextlib.nullcontext():
        for step in range(6 if mode == "uneven" and rank == 1 else 4):
            loss = model(torch.ones(4, 8)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # on every rank
            if rank == 1:
                loss.tolist()  # on rank 1
            if mode == "raise" and rank == 1 and step == 2:
                raise RuntimeError("rank 1 is broken")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    train(sys.argv[1])
    if mode_of_end := os.environ.get("END_OF_RANK_1"):
        dist.barrier()
        if dist.get_rank() == 1 and mode_of_end == "os._exit":
            os._exit(9)
    dist.destroy_process_group()
