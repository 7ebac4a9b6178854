"""A classification loop on the device with everything people write into it."""
# run: --simulate cuda
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0)
data = TensorDataset(torch.randn(24, 6), torch.randint(0, 3, (24,)))
loader = DataLoader(data, batch_size=8)
model = torch.nn.Linear(6, 3).to(device)  # expect: transfer direction=h2d
criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 1.0], device=device))  # expect: transfer direction=h2d
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
best, history, correct = float("inf"), [], 0
for epoch in range(2):
    total = 0.0
    for x, y in loader:
        x, y = x.to(device), y.to(device)  # expect: transfer direction=h2d count=6
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(x)  # expect: sync implicit=false count=6
        correct += (logits.argmax(1) == y).sum().item()  # expect: sync implicit=false count=6
        if torch.isnan(loss):  # expect: sync implicit=true count=6
            raise SystemExit("diverged")
    history.append(total)
    if loss < best:  # expect: sync implicit=true
        best = loss.detach()
    message = f"epoch {epoch}: {loss:.3f}"  # expect: sync implicit=true count=2
print(len(history), correct >= 0, message.startswith("epoch"))
