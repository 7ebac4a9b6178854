"""Audio arrives in one ring buffer; each block is wrapped, not copied, and overwritten by the next."""
import torch

ring = bytearray(4096)
queued = []


def callback(block):
    ring[:] = bytes([block]) * 4096  # expect: mutation
    queued.append(torch.frombuffer(ring, dtype=torch.uint8))  # expect: alias count=4


for number in range(1, 5):
    callback(number)
print([int(samples[0]) for samples in queued])  # expect: read
