"""What PyTorch writes in the name of the user's lines; each line marked ``# writes`` does, and no other."""

# ruff: noqa: ANN001

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from watching import as_dict, tell, watch

from tensorwatch_guard.sharing import lines


class Dividing(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        item = self.data[index]
        item /= 2  # writes
        return item


def main():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    weight, mean = model[0].weight.detach().numpy(), model[1].running_mean.numpy()
    data = np.ones((4, 4), np.float32)
    optimizer = torch.optim.Adam(model.parameters())
    follower = lines.make()
    started = [watch(follower, key, array) for key, array in enumerate((weight, mean, data))]

    def closure():
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()  # writes
        loss.backward()
        return loss

    model(torch.randn(8, 4))  # writes
    model[0].weight.sum().backward()
    optimizer.step()  # writes
    optimizer.step(closure)  # writes
    with torch.no_grad():
        model[0].weight.copy_(  # writes
            torch.zeros(4, 4)
        )
        torch.nn.init.ones_(model[0].weight)  # writes
    for batch in DataLoader(Dividing(torch.from_numpy(data)), batch_size=2):
        assert batch.shape == (2, 4)
    before = torch._C._autograd._get_sequence_nr()
    (model[0].weight * 2).sum()
    weight[0] = 3  # writes
    written = follower.collect()
    after = torch._C._autograd._get_sequence_nr()
    follower.stop()
    tell(
        started=started,
        errors=follower.errors,
        before=before,
        after=after,
        sequence=written[-1].sequence,
        writes=[as_dict(write) for write in written],
    )


main()
