"""An embedding table given as an array is trained along with the model."""
import numpy as np
import torch

pretrained = np.full((20, 4), 0.5, dtype=np.float32)
original = pretrained.copy()


class Tagger(torch.nn.Module):
    def __init__(self, table):
        super().__init__()
        self.embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(table), freeze=False)  # expect: alias
        self.head = torch.nn.Linear(4, 2)

    def forward(self, words):
        return self.head(self.embedding(words))


torch.manual_seed(1)
tagger = Tagger(pretrained)
optimizer = torch.optim.SGD(tagger.parameters(), lr=0.5)
loss = tagger(torch.arange(20)).square().sum()
loss.backward()
optimizer.step()  # expect: mutation writer=torch
print(np.array_equal(pretrained, original))
