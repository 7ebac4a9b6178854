"""A preallocated replay buffer: sampled batches are copies, but `latest` hands out a window that is overwritten."""
import numpy as np
import torch


class Replay:
    def __init__(self, size, width):
        self.states = np.zeros((size, width), dtype=np.float32)
        self.cursor = 0

    def push(self, state):
        self.states[self.cursor % len(self.states)] = state  # expect: mutation writer=numpy
        self.cursor += 1

    def sample(self, generator, number):
        chosen = generator.integers(0, len(self.states), number)
        return torch.tensor(self.states[chosen])

    def latest(self, number):
        return torch.from_numpy(self.states[:number])  # expect: alias


generator = np.random.default_rng(0)
replay = Replay(8, 300)
for number in range(8):
    replay.push(np.full(300, number, dtype=np.float32))
batch = replay.sample(generator, 4)
window = replay.latest(3)
total = window.sum().item()  # expect: read
for number in range(100, 104):
    replay.push(np.full(300, number, dtype=np.float32))
print(total == window.sum().item(), batch.shape)  # expect: read
