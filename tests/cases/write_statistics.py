"""Running statistics of an instance norm and a spectral norm's vectors move in the forward pass."""
import torch

torch.manual_seed(0)
norm = torch.nn.InstanceNorm1d(8, track_running_stats=True)
variance = norm.running_var.numpy()  # expect: alias
before = variance.copy()
norm(torch.randn(4, 8, 16) * 3)  # expect: mutation
print((variance == before).all())
counted = norm.num_batches_tracked.numpy()  # expect: alias
norm.eval()
norm(torch.randn(4, 8, 16) * 3)
print(counted)
