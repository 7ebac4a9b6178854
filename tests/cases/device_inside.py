"""Operations that wait in themselves: whatever is on the device, they ask the host."""
# run: --simulate cuda

import torch

many, few = torch.arange(256, device="cuda"), torch.arange(4, device="cuda")
square = torch.eye(3, device="cuda").repeat(4, 1, 1)
rows, lengths = torch.ones(12, 2, device="cuda"), torch.full((3,), 4, device="cuda")
scalars = [torch.rand((), device="cuda") for _ in range(5)]

torch.isin(many, many)  # expect: sync
torch.isin(many, few)
torch.isin(many, many, assume_unique=True)
torch.linalg.matrix_exp(square)  # expect: sync
torch.linalg.matrix_exp(square[:, :1, :1])
torch.cholesky_inverse(square)  # expect: sync
torch.segment_reduce(rows, "mean", lengths=lengths, axis=0)  # expect: sync
torch.segment_reduce(rows, "mean", lengths=lengths, axis=0, unsafe=True)
torch.tensor(scalars, device="cuda")  # expect: sync ; transfer direction=h2d
print(len(scalars))
