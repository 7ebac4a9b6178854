"""A copy from the device lands once in shared memory; PyTorch scales it later at another line: two lines."""
# run: --simulate cuda
import torch

landing = torch.zeros(4, 8)
plot = landing.numpy()  # expect: alias
landing.copy_(torch.ones(4, 8, device="cuda"))  # expect: transfer direction=d2h ; mutation writer=torch
for step in range(4):
    nxt = torch.full((4, 8), float(step + 5), device="cuda")
    h = nxt.cpu()  # expect: transfer direction=d2h count=4
    landing.mul_(0.5)  # expect: mutation writer=torch
print(plot.shape)
