"""A framework in site-packages waits for the device in its own loop: its lines are told apart under the user's call."""
# run: --simulate cuda
import importlib
import sys
import tempfile
from pathlib import Path

import torch

folder = tempfile.TemporaryDirectory()
package = Path(folder.name) / "site-packages"
package.mkdir()
(package / "gpufit.py").write_text(
    """
import torch

def fit(model, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    best = float("inf")
    for _ in range(steps):
        loss = model(torch.ones(2, 4, device="cuda")).pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if loss < best:
            best = loss.item()
    return best
"""
)
sys.path.insert(0, str(package))
gpufit = importlib.import_module("gpufit")

torch.manual_seed(0)
model = torch.nn.Linear(4, 1, device="cuda")
best = gpufit.fit(model, 3)  # expect: sync count=3
print(best >= 0)
