"""Parts of one array or tensor that share no byte: to write one of them shows in no other, and the whole has no name any more."""
import numpy as np
import torch


def split():
    table = np.ones((6, 3), dtype=np.float32)
    return torch.from_numpy(table[:4]), torch.from_numpy(table[4:])  # maybe: alias


train, test = split()
train -= 0.5
print(train.sum().item(), test.sum().item())  # expect: read

first, second = [torch.from_numpy(row) for row in np.ones((2, 40), dtype=np.float32)]  # maybe: alias
first *= 3
print(first.sum().item(), second.sum().item())  # expect: read


def halves():
    position, velocity = torch.ones(20).chunk(2)
    return position.numpy(), velocity  # maybe: alias


position, velocity = halves()
position *= 2
print(position.sum(), velocity.sum().item())  # expect: read

mean, spread = torch.arange(12.0).reshape(6, 2).chunk(2, dim=1)
centre = mean.numpy()  # maybe: alias
del mean
centre -= centre[0]
print(centre.shape, spread.exp().shape)
