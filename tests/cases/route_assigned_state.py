"""A model is restored with assign=True from a buffer that is used again for the next file."""
import numpy as np
import torch

buffer = np.ones((8, 8), dtype=np.float32)
model = torch.nn.Linear(8, 8, bias=False)
model.load_state_dict({"weight": torch.from_numpy(buffer)}, assign=True)  # expect: alias
before = model(torch.ones(1, 8)).detach()
buffer[:] = 3.0  # expect: mutation writer=numpy
after = model(torch.ones(1, 8)).detach()
print(before[0, 0].item(), after[0, 0].item())  # expect: read
