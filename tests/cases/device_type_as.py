"""Device-agnostic code the way the Lightning guide has it."""
# run: --simulate cuda
import torch
from torch import nn


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Linear(4, 4), nn.Linear(2, 4)

    def forward(self, x):
        mean, log_var = self.enc(x).chunk(2, 1)
        noise = torch.randn(mean.shape).type_as(mean)  # expect: transfer direction=h2d count=2
        quiet = torch.randn_like(mean)
        z = mean + (noise + quiet) * (log_var / 2).exp()
        return self.dec(z), mean, log_var


torch.manual_seed(0)
vae = Vae().to("cuda")  # expect: transfer direction=h2d
for _ in range(2):
    x = torch.rand(3, 4, device="cuda")
    recon, mean, log_var = vae(x)
    loss = (recon - x).pow(2).sum() - 0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum()
    loss.backward()
print(loss.type_as(mean) is loss, loss.device)
