"""A flat parameter vector whose views are the layers: each layer's array moves when the flat vector does."""
import torch

flat = torch.zeros(30)
layers = {"w": flat[:20].view(4, 5), "b": flat[20:25], "free": flat[25:]}
arrays = {name: layer.numpy() for name, layer in layers.items()}  # expect: alias
flat[:25] += 0.5  # expect: mutation writer=torch
print(flat.sum().item(), arrays["w"].sum())  # expect: read
arrays["b"] *= 2  # expect: mutation writer=numpy
print(flat.sum().item(), layers["b"].tolist())  # expect: read
layers["free"].fill_(1)  # expect: mutation writer=torch
print(flat.sum().item(), layers["free"].tolist())  # expect: read
arrays["w"][0] = -1  # expect: mutation writer=numpy
print(flat.sum().item(), layers["w"].tolist()[0])  # expect: read
