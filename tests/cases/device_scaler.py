"""Mixed precision with a GradScaler: one wait a step is the scaler's own."""
# run: --simulate cuda
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 2, device="cuda")
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scaler = torch.amp.GradScaler("cuda")
running = torch.zeros((), device="cuda")
for _ in range(3):
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(torch.ones(3, 4, device="cuda")).float().square().mean()
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)  # expect: sync count=3
    scaler.update()
    running += loss.detach()
scale = scaler.get_scale()  # expect: sync
average = (running / 3).item()  # expect: sync
print(scale > 0, average > 0, norm.shape)
