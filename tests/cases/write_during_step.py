"""Another thread writes while a step runs."""
import threading

import numpy as np
import torch

buf = np.zeros(3)
t = torch.from_numpy(buf)  # expect: alias
go, done = threading.Event(), threading.Event()


def producer():
    go.wait()
    buf[0] = 5.0  # expect: mutation writer=numpy
    done.set()


class Own(torch.optim.SGD):
    def step(self):
        go.set()
        done.wait()
        super().step()


threading.Thread(target=producer).start()
opt = Own([torch.nn.Parameter(torch.ones(2))], lr=0.1)
opt.step()
print(t.sum())
