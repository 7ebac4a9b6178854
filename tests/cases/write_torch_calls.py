"""PyTorch writes that are no method with an underscore: out=, setitem, nn.init, index_copy_, foreach."""
import torch

weights = torch.zeros(40, 50)
snapshot = weights.numpy()  # expect: alias
torch.add(torch.ones(40, 50), 1.0, out=weights)  # expect: mutation writer=torch
print(snapshot[0, 0], weights[0, 0].item(), weights.tolist()[0][0])  # expect: read
torch.nn.init.normal_(weights)  # expect: mutation writer=torch
print(bool(weights[0, 0] != 2), weights.tolist()[0] == 2)  # expect: read
weights[3, 4:8] = torch.arange(4.0)  # expect: mutation writer=torch
print(snapshot[3, 5], weights.tolist()[3][5])  # expect: read
weights.index_copy_(0, torch.tensor([1]), torch.full((1, 50), 9.0))  # expect: mutation writer=torch
print(snapshot[1, 1], weights.tolist()[1][1])  # expect: read
torch._foreach_mul_([weights], 2.0)  # expect: mutation writer=torch
print(snapshot[1, 1], weights.tolist()[1][1])  # expect: read
