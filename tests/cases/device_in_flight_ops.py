"""Under the ops layer any operation on the host is seen that reads or writes memory of a copy under way."""
# run: --simulate cuda --ops
import torch

device = torch.device("cuda")
logits = torch.arange(8.0, device=device)
staging = torch.zeros(8).pin_memory()
sent = staging.to(device, non_blocking=True)  # expect: transfer direction=h2d blocking=false
torch.add(torch.ones(8), 1, out=staging)  # expect: hazard type=async-copy
torch.cuda.synchronize()  # expect: sync
hurried = logits.to("cpu", non_blocking=True)  # expect: transfer direction=d2h blocking=false
shifted = hurried + 1  # expect: hazard type=async-copy
torch.cuda.synchronize()  # expect: sync
patient = logits.to("cpu", non_blocking=True)  # expect: transfer direction=d2h blocking=false
view = patient.view(2, 4)[0].detach()
fresh = torch.empty_like(patient)
torch.cuda.synchronize()  # expect: sync
print((view + 1).sum().item(), shifted.shape, fresh.shape, sent.device.type)  # expect: read
array = patient.numpy()  # expect: alias direction=tensor->array
print(array[:2])
