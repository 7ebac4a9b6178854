"""A DataLoader without batching yields the dataset's own buffer, again and again."""
import numpy as np
from torch.utils.data import DataLoader, Dataset


class Camera(Dataset):
    def __init__(self):
        self.frame = np.zeros((32, 32), dtype=np.float32)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        self.frame[:] = index + 1  # expect: mutation writer=numpy
        return self.frame


frames = list(DataLoader(Camera(), batch_size=None))  # expect: alias count=3
print([frame[0, 0].item() for frame in frames])  # expect: read
