"""Parts of one array or tensor that do share bytes: another part, or the whole, sees what is written to one of them."""
import numpy as np
import torch


def windows():
    signal = np.ones(6, dtype=np.float32)
    return torch.from_numpy(signal[:4]), torch.from_numpy(signal[2:])  # expect: alias


early, late = windows()
early -= 0.5  # expect: mutation writer=torch
print(early.sum().item(), late.sum().item())  # expect: read

state = torch.ones(20)
position, velocity = state.chunk(2)
seen = position.numpy()  # expect: alias
del position
seen *= 2  # expect: mutation writer=numpy
print(state.sum().item())  # expect: read

packet = bytearray(b"\x01" * 64)
pixels = torch.frombuffer(packet, dtype=torch.uint8)  # expect: alias
pixels += 1  # expect: mutation writer=torch
print(pixels.sum().item(), packet[0])  # expect: read
