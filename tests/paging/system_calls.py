"""System calls that a waiting signal would change: let through untouched, and told without a line."""

from __future__ import annotations

import socket
import threading

from paged import PAGE, pages, seen, tell, watched

from tensorwatch_guard.sharing.pages import PageFollower

follower = PageFollower()
array = watched(follower, pages(40))
found = {}

with open("/dev/urandom", "rb", buffering=0) as device:
    found["urandom"] = [device.readinto(array), array.nbytes, [seen(write) for write in follower.collect()]]

one, two = socket.socketpair()


def send_in_two_parts():
    one.sendall(bytes(10 * PAGE))
    begun.wait()
    one.sendall(bytes(10 * PAGE))


begun = threading.Event()
sender = threading.Thread(target=send_in_two_parts)
sender.start()
view = follower.new_event_view()
before = bytes(view)
threading.Thread(target=lambda: [None for _ in iter(lambda: bytes(view) == before, False)] and begun.set()).start()
found["wait for all"] = [two.recv_into(array, 20 * PAGE, socket.MSG_WAITALL), 20 * PAGE]
found["wait for all"].append([seen(write) for write in follower.collect()])
sender.join()
follower.close()
tell(found)
