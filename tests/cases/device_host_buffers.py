"""A host buffer is filled by NumPy in each turn and sent to the device: copies and waits look at shared memory, too."""
# run: --simulate cuda
import numpy as np
import torch

device = torch.device("cuda")
buffer = torch.zeros(4, 8)
rows = buffer.numpy()  # expect: alias direction=tensor->array
total = torch.zeros((), device=device)
for step in range(3):
    rows[:] = step + 1  # expect: mutation writer=numpy
    batch = buffer.to(device)  # expect: transfer direction=h2d
    rows[0, 0] = 99.0  # expect: mutation writer=numpy
    total += batch.sum()
    print(batch.sum().item())  # expect: sync
targets = np.arange(4.0)
wanted = torch.from_numpy(targets)  # expect: alias direction=array->tensor
torch.cuda.synchronize()  # expect: sync
targets += 1  # expect: mutation writer=numpy
torch.cuda.synchronize()  # expect: sync
wanted.mul_(2)  # expect: mutation writer=torch
kept = total.cpu()  # expect: transfer direction=d2h
landing = torch.zeros(())
seen = landing.numpy()  # expect: alias direction=tensor->array
landing.copy_(total)  # expect: transfer direction=d2h ; mutation writer=torch
print(kept, float(seen))
