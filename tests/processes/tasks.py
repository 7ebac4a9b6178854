"""Asyncio tasks and a thread pool under one guard; the last line is who read what, and what was allowed."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from tensorwatch_guard import allow, guard


async def quiet(value: torch.Tensor) -> None:
    with allow("read", reason="metrics"):
        await asyncio.sleep(0)
        value.item()


async def loud(value: torch.Tensor) -> None:
    await asyncio.sleep(0)
    value.tolist()
    torch.as_tensor(np.ones(3))


def pooled(value: torch.Tensor) -> None:
    value.item()


async def main() -> None:
    value = torch.ones(())
    tasks = [("metrics", quiet), ("serve 1", loud), ("serve 2", loud)]
    await asyncio.gather(*(asyncio.create_task(task(value), name=name) for name, task in tasks))
    with ThreadPoolExecutor(1, thread_name_prefix="preload") as pool:
        pool.submit(pooled, value).result()


if __name__ == "__main__":
    with guard(report=False) as g:
        asyncio.run(main())
    told = {f"{f.site.function} {f.op}": [sorted(f.threads), f.allowed] for f in g.report.findings if f.site}
    print(json.dumps(told))
