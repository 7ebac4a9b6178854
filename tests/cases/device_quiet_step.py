"""A training step as it should be: nothing waits but the epoch's end."""
# run: --simulate cuda
import torch

torch.manual_seed(0)
cuda = torch.device("cuda")
net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3, device=cuda), torch.nn.InstanceNorm2d(4, device=cuda), torch.nn.ReLU(inplace=True),
    torch.nn.Flatten(), torch.nn.Dropout(0.1), torch.nn.Linear(4 * 36, 3, device=cuda),
)
optimizer = torch.optim.AdamW(net.parameters(), foreach=True)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
losses = torch.zeros(4, device=cuda)
images = torch.randn(16, 1, 8, 8, device=cuda)
labels = torch.randint(0, 3, (16,), device=cuda)
ema = [p.detach().clone() for p in net.parameters()]
for step in range(4):
    order = torch.randperm(16, device=cuda)[:8]
    x, y = images[order], labels[order]
    logits = net(x)
    loss = torch.nn.functional.cross_entropy(logits, y, label_smoothing=0.1)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    losses[step].copy_(loss.detach())
    torch._foreach_lerp_(ema, [p.detach() for p in net.parameters()], 0.1)
    top = logits.topk(2).indices
    hit = (top == y[:, None]).any(1).float().mean()
    best = torch.minimum(losses[:1], loss.detach())
curve = losses.tolist()  # expect: sync implicit=false count=1
print(len(curve), x.shape, hit.shape, best.shape)
