"""torch.frombuffer over bytes makes an immutable object writable."""
import warnings

import torch

warnings.simplefilter("ignore")
header = bytes(range(32))
tensor = torch.frombuffer(header, dtype=torch.uint8)  # expect: alias
tensor[0] = 65  # expect: mutation writer=torch
print(header[:2], tensor[0].item())  # expect: read
