"""Two reads a turn, the write below both, small and middle-sized memory."""
import numpy as np
import torch


class Env:
    def __init__(self):
        self.obs = np.zeros(4, dtype=np.float32)
        self.image = np.zeros((64, 64), dtype=np.float32)

    def step(self):
        self.obs += 1  # expect: mutation writer=numpy
        self.image[0, 0] += 1  # expect: mutation writer=numpy
        return torch.from_numpy(self.obs), torch.from_numpy(self.image)  # expect: alias ; alias


env = Env()
seen = []
score = torch.ones(1)
for _ in range(6):
    obs, image = env.step()
    seen.append((obs, image))
    if score.item() > 3:  # expect: read
        break
    float(score)  # expect: read
