# exact-only
"""Two threads have one name; the gradient of the one that trains is wrong for certain all the same."""

import threading

import numpy as np
import torch

stop = threading.Event()


def idle():
    stop.wait()


def train():
    for turn in range(3):
        array = np.ones(8, dtype=np.float32)
        values = torch.from_numpy(array)  # expect: alias
        weight = torch.ones(8, requires_grad=True)
        loss = (values * weight).sum()
        array[0] = 5.0 + turn  # expect: mutation writer=numpy
        loss.backward()  # expect: hazard type=stale-gradient certain=True


threads = [threading.Thread(target=one, name="worker") for one in (idle, train)]
for thread in threads:
    thread.start()
threads[1].join()
stop.set()
threads[0].join()
