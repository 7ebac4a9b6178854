"""Memory written past NumPy and PyTorch: memoryview, struct, ctypes, a socket."""
import ctypes
import socket
import struct

import numpy as np
import torch

packet = np.zeros(512, dtype=np.uint8)
received = torch.from_numpy(packet)  # expect: alias
memoryview(packet)[0] = 1  # expect: mutation
print(received.tolist()[0])  # expect: read
struct.pack_into("<I", packet, 4, 0xFFFF)  # expect: mutation
print(received.tolist()[4])  # expect: read
ctypes.memset(packet.ctypes.data + 100, 7, 16)  # expect: mutation
print(received.tolist()[100])  # expect: read
sender, receiver = socket.socketpair()
sender.sendall(b"x" * 300)
receiver.recv_into(packet)  # expect: mutation
print(received.tolist()[0])  # expect: read
sender.close()
receiver.close()
