"""Writes that no version counter tells: .data, an untyped storage, an inference tensor."""
import torch

weight = torch.nn.Parameter(torch.ones(900))
seen = weight.detach().numpy()  # expect: alias
weight.data.mul_(0.5)  # expect: mutation writer=torch
print(seen[0], weight[0].item(), weight.tolist()[0])  # expect: read
weight.untyped_storage().fill_(0)  # expect: mutation
print(seen[0], weight[0].item(), weight.tolist()[0])  # expect: read
with torch.inference_mode():
    scores = torch.ones(700)
    shown = scores.numpy()  # expect: alias
    scores += 1  # expect: mutation
    print(shown[0], scores[0].item(), scores.tolist()[0])  # expect: read
