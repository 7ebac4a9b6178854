"""Checkpoints of a model on the device."""
# run: --simulate cuda
import copy
import io
import os
import pickle
import tempfile
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 4, device="cuda")
optimizer = torch.optim.Adam(model.parameters())
model(torch.ones(2, 4, device="cuda")).sum().backward()
optimizer.step()
best = copy.deepcopy(model.state_dict())
folder = tempfile.mkdtemp()
path = os.path.join(folder, "model.pt")
torch.save({"model": model.state_dict(), "epoch": 3}, path)  # expect: transfer direction=d2h
on_host = torch.load(path, map_location="cpu")
print(on_host["model"]["weight"].device)
on_device = torch.load(path, map_location="cuda")  # expect: transfer direction=h2d
print(on_device["model"]["weight"].device)
where_it_was = torch.load(path)  # expect: transfer direction=h2d
model.load_state_dict(on_host["model"])  # expect: transfer direction=h2d
model.load_state_dict(best)
host_state = {k: v.cpu() for k, v in model.state_dict().items()}  # expect: transfer direction=d2h count=2
twin = copy.deepcopy(model)
print(next(twin.parameters()).is_cuda, where_it_was["epoch"], len(host_state))
parcel = pickle.dumps({"weight": twin.weight.detach()})  # expect: transfer direction=d2h
arrived = pickle.loads(parcel)["weight"]  # expect: transfer direction=h2d
print(arrived.device)
