"""A replay buffer made of tensors: the array of one slot is scaled by NumPy after PyTorch has filled other slots."""
import torch

slots = torch.zeros(6, 100)
first = slots[0].numpy()  # expect: alias
for number in range(1, 6):
    slots[number] = float(number)
print(slots.sum().item())  # expect: read
print(slots[0].sum().item())  # expect: read
first += 1.0  # expect: mutation writer=numpy
print(slots[0].sum().item())  # expect: read
slots[3].zero_()
print(slots[0].sum().item())  # expect: read
first *= 2.0  # expect: mutation writer=numpy
print(slots[0].sum().item())  # expect: read
