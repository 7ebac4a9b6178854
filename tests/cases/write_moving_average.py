"""An exponential moving average that forgot to copy decays the live weights; the correct one beside it does not."""
import torch

torch.manual_seed(0)
model = torch.nn.Linear(16, 16, bias=False)
shadow = model.weight.detach().numpy()  # expect: alias
correct = model.weight.detach().clone()
norms = []
for _ in range(3):
    shadow *= 0.9  # expect: mutation writer=numpy
    with torch.no_grad():
        correct.mul_(0.9).add_(model.weight, alpha=0.1)
    norms.append(round(model.weight.norm().item(), 4))  # expect: read
print(norms)
