"""What DLPack, a buffer or a way there and back leaves behind: one holder, who may write as he likes."""
import array

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack, to_dlpack

grows = torch.ones(8)
view = np.from_dlpack(grows)  # maybe: alias
del view
grows.resize_(3000)

weights = torch.ones(8)
snapshot = np.from_dlpack(weights).copy()  # maybe: alias
weights.add_(1)
kept = from_dlpack(to_dlpack(weights)).clone()  # maybe: alias
weights.mul_(3)
print(weights.sum().item(), snapshot.sum(), kept.sum().item())  # expect: read


def decoded(data):
    chunk = bytearray(data)
    return torch.frombuffer(chunk, dtype=torch.uint8)  # maybe: alias


packet = decoded(b"abcd" * 8)
packet.bitwise_xor_(255)
row = torch.frombuffer(array.array("f", [1.0, 2.0]), dtype=torch.float32)  # maybe: alias
row.div_(2)
print(packet.sum().item(), row.tolist())  # expect: read


def clamped(values):
    return torch.from_numpy(values.copy()).numpy()  # maybe: alias


def smoothed(tensor):
    return torch.from_numpy(tensor.clone().numpy())  # maybe: alias


signal, echo = clamped(np.ones(9)), smoothed(torch.ones(9))
signal *= 2
echo *= 2
print(signal.sum(), echo.sum().item())  # expect: read
