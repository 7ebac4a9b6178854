"""A coroutine refills the buffer while another still holds the tensor made of it."""
import asyncio

import numpy as np
import torch

buffer = np.zeros(1200, dtype=np.float32)


async def sensor(queue):
    for number in range(1, 4):
        buffer[:] = number  # expect: mutation writer=numpy
        await queue.put(torch.from_numpy(buffer))  # expect: alias count=3
        await asyncio.sleep(0)
    await queue.put(None)


async def collect(queue):
    kept = []
    while (tensor := await queue.get()) is not None:
        kept.append(tensor)
    return kept


async def main():
    queue = asyncio.Queue()
    kept, _ = await asyncio.gather(collect(queue), sensor(queue))
    return [int(tensor[0]) for tensor in kept]  # expect: read


print(asyncio.run(main()))
