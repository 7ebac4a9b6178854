"""A model goes to shared memory for its workers; the monitoring arrays of its weights point into freed memory."""
import torch

torch.manual_seed(0)
policy = torch.nn.Linear(50, 50)
monitor = {name: value.detach().numpy() for name, value in policy.named_parameters()}  # expect: alias count=2
policy.share_memory()  # expect: hazard type=dangling-alias
print(sorted(monitor), policy(torch.ones(1, 50)).shape)
