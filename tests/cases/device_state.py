"""Weights go up, come down, are saved and loaded: one finding a module, not one a parameter."""
# run: --simulate cuda
import io

import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(5, 5), torch.nn.BatchNorm1d(5))
kept = {name: value.clone() for name, value in model.state_dict().items()}
model.cuda()  # expect: transfer direction=h2d
model.load_state_dict(kept)  # expect: transfer direction=h2d
model.to("cuda")
on_host = {name: value.cpu() for name, value in model.state_dict().items()}  # expect: transfer direction=d2h count=7
model.cpu()  # expect: transfer direction=d2h
stream = io.BytesIO()
torch.save(model.state_dict(), stream)
print(len(on_host), all(torch.equal(on_host[name], kept[name]) for name in kept))
