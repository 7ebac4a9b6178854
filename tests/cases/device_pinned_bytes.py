"""Pinned images become floats on the way: asynchronous, the bytes of the images."""
# run: --simulate cuda
import torch

images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8).pin_memory()
labels = torch.arange(4).pin_memory()
x = images.to("cuda", torch.float32, non_blocking=True)  # expect: transfer direction=h2d blocking=false bytes=768
y = labels.to(device="cuda", dtype=torch.int32, non_blocking=True)  # expect: transfer direction=h2d blocking=false
z = images.to("cuda", non_blocking=True, memory_format=torch.channels_last)  # expect: transfer direction=h2d blocking=false
w = images.to("cuda", torch.float32)  # expect: transfer direction=h2d blocking=true
v = images[:, 0].to("cuda", non_blocking=True)  # expect: transfer direction=h2d
u = images[1:3].to("cuda", non_blocking=True)  # expect: transfer direction=h2d blocking=false
t = torch.empty(4, 3, 8, 8, device="cuda")
t.copy_(images, non_blocking=True)  # expect: transfer direction=h2d blocking=false
torch.cuda.synchronize()  # expect: sync
print(x.dtype, y.dtype, z.is_contiguous(memory_format=torch.channels_last), w.dtype, v.shape, u.shape, t.shape)
