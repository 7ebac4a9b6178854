"""A hand-written optimizer and a jit-scripted decay, beside a history of arrays."""
import torch


class Sign(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-group["lr"])  # expect: mutation writer=torch


@torch.jit.script
def decay(weight: torch.Tensor, rate: float) -> None:
    weight.mul_(1 - rate)


torch.manual_seed(0)
layer = torch.nn.Linear(3, 3, bias=False)
optimizer = Sign(layer.parameters(), 0.01)
watched = layer.weight.detach().numpy()  # expect: alias
for _ in range(2):
    optimizer.zero_grad()
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
print(layer.weight.sum().item() == watched.sum())  # expect: read
decay(layer.weight.detach(), 0.5)  # expect: mutation writer=torch
print(layer.weight.sum().item() == watched.sum())  # expect: read
