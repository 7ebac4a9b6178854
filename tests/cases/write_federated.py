"""A federated client hands out its parameters without copying; the server averages them after the next local round."""
import numpy as np
import torch


class Client:
    def __init__(self, seed):
        torch.manual_seed(seed)
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def get_parameters(self):
        return [value.cpu().numpy() for _, value in self.net.state_dict().items()]  # expect: alias

    def fit(self):
        loss = self.net(torch.randn(8, 4)).square().sum()  # expect: mutation writer=torch
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()  # expect: mutation writer=torch

    def set_parameters(self, arrays):
        names = self.net.state_dict().keys()
        self.net.load_state_dict({name: torch.tensor(array) for name, array in zip(names, arrays)})


clients = [Client(0), Client(1)]
first = [client.get_parameters() for client in clients]
frozen = [[array.copy() for array in arrays] for arrays in first]
for client in clients:
    client.fit()
print(all(np.array_equal(a, b) for a, b in zip(first[0], frozen[0])))
