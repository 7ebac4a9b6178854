"""Every kind of writer, once each. The line that writes carries the case's name as a comment."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import threading

import numpy as np
import torch
from paged import PAGE, each, pages, tell, watched

from tensorwatch_guard.sharing.pages import PageFollower

follower = PageFollower()
array = watched(follower, pages(25, np.float32), 1)
tensor = torch.from_numpy(array)
other = np.ones_like(array)
middle = array[PAGE // 4 : -PAGE // 4]


def item():
    array[5000] = 1  # item


def whole_slice():
    array[:] = 2  # whole_slice


def in_place():
    global array
    array += 1  # in_place


def fill():
    array.fill(3)  # fill


def copyto():
    np.copyto(array, other)  # copyto


def out():
    np.add(other, 1, out=array)  # out


def sort():
    array[::-1].sort()  # sort


def view_of_a_view():
    array[100:][::2][600:].reshape(-1, 2)[:, 1] *= 2  # view_of_a_view


def shuffle():
    np.random.default_rng(0).shuffle(middle)  # shuffle


def bytes_view():
    memoryview(array)[4000] = 7.0  # bytes_view


def library_code():
    random.shuffle(memoryview(middle).cast("B").cast("i")[:400])  # library_code


def several_lines():
    np.multiply(  # several_lines
        other,
        2,
        out=array,
    )


def torch_fill():
    tensor.zero_()  # torch_fill


def torch_copy():
    tensor.copy_(torch.from_numpy(other))  # torch_copy


def torch_out():
    torch.add(tensor, 1, out=tensor)  # torch_out


def torch_index():
    tensor[torch.arange(3000, 4000)] = 5.0  # torch_index


def optimizer_step():
    parameter = torch.nn.Parameter(tensor)
    parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    optimizer.step()  # optimizer_step


def gradient():
    parameter = torch.ones(tensor.numel(), requires_grad=True)
    parameter.grad = tensor
    parameter.sum().backward()  # gradient


def file_read():
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(array.nbytes))
        file.seek(0)
        file.readinto(memoryview(array).cast("B"))  # file_read


def pipe_read():
    read, write = os.pipe()
    os.write(write, bytes(3 * PAGE))
    with open(read, "rb", buffering=0) as file:
        file.readinto(memoryview(array).cast("B"))  # pipe_read
    os.close(write)


def socket_read():
    one, two = socket.socketpair()
    with one, two:
        one.sendall(bytes(3 * PAGE))
        two.recv_into(array)  # socket_read


def thread():
    def work():
        array[7000] = 1  # thread

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    worker.join()


try:
    tell(each(follower, [value for value in list(globals().values()) if getattr(value, "__module__", 0) == "__main__"]))
finally:
    follower.close()
