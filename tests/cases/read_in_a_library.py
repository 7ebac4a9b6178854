"""A training framework, installed like any other package, reads losses in its own loop: the user's line is the call."""
import importlib
import sys
import tempfile
from pathlib import Path

import torch

folder = tempfile.TemporaryDirectory()
package = Path(folder.name) / "site-packages" / "tinyfit"
package.mkdir(parents=True)
(package / "__init__.py").write_text(
    "from .loop import fit\n",
)
(package / "loop.py").write_text(
    """
def fit(model, batches, on_epoch=None):
    import torch
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    history, worst = [], float("-inf")
    for batch in batches:
        loss = model(batch).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        if loss > worst:
            worst = float(loss)
        if on_epoch is not None:
            on_epoch(model, loss)
    return history, worst
"""
)
sys.path.insert(0, str(package.parent))
tinyfit = importlib.import_module("tinyfit")


def watch(model, loss):
    losses.append(loss.detach().item())  # expect: read op=Tensor.item count=3


torch.manual_seed(0)
losses = []
model = torch.nn.Linear(4, 1)
history, worst = tinyfit.fit(model, [torch.randn(3, 4) for _ in range(3)], on_epoch=watch)  # expect: read
print(history == losses, worst == max(history))
