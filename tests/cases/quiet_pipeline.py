"""Conversions as they should be: copies where something is written, sharing where nothing is."""
import numpy as np
import torch

generator = np.random.default_rng(0)
raw = generator.normal(size=(50, 6))
train = torch.tensor(raw, dtype=torch.float32)
raw *= 0
model = torch.nn.Linear(6, 2)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
history, curve = [], []
for _ in range(3):
    loss = model(train).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.append(model.weight.detach().numpy().copy())
    curve.append(float(loss.detach()))  # expect: read
kept = {name: value.clone() for name, value in model.state_dict().items()}
plotted = np.array(train)
plotted[:] = 0
listed = train.tolist()  # expect: read
listed[0][0] = 9.0
halved = train.numpy().astype(np.float16)
halved[:] = 0
stacked = np.stack([step for step in history])
stacked += 1
print(len(curve), stacked.shape, sorted(kept))
