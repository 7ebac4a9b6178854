"""A small language model trained in half precision."""
# run: --simulate cuda
import math
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x, mask):
        b, t, w = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(w // self.heads)
        scores = scores.masked_fill(mask, float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, w))


torch.manual_seed(0)
device = "cuda"
embed, attention, head = nn.Embedding(11, 8).to(device), Attention(8, 2).to(device), nn.Linear(8, 11).to(device)  # expect: transfer direction=h2d
params = [*embed.parameters(), *attention.parameters(), *head.parameters()]
optimizer = torch.optim.AdamW(params, lr=1e-3, fused=True)
scaler = torch.amp.GradScaler()
mask = torch.triu(torch.ones(5, 5, dtype=torch.bool, device=device), 1)
for step in range(2):
    tokens = torch.randint(0, 11, (2, 6), device=device)
    with torch.autocast("cuda", dtype=torch.float16):
        logits = head(attention(embed(tokens[:, :-1]), mask))
        loss = F.cross_entropy(logits.view(-1, 11), tokens[:, 1:].reshape(-1))
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(params, 1.0)
    scaler.step(optimizer)
    scaler.update()
    print(step, f"{loss.item():.1f}"[:1])  # expect: sync implicit=false count=2
