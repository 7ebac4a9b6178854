"""A result fetched in the background is read before anyone waited for it; the second one is waited for."""
# run: --simulate cuda
import torch

scores = torch.arange(6.0, device="cuda") * 2
hurried = torch.empty(6, pin_memory=True)
hurried.copy_(scores, non_blocking=True)  # expect: transfer direction=d2h blocking=false
first = hurried.tolist()  # expect: hazard type=async-copy ; read
patient = torch.empty(6, pin_memory=True)
patient.copy_(scores, non_blocking=True)  # expect: transfer direction=d2h blocking=false
done = torch.cuda.Event()
done.record()
done.synchronize()  # expect: sync implicit=false
second = patient.tolist()  # expect: read
print(len(first), len(second))
