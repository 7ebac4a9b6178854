"""Every line marked ``# writes`` writes to the watched array, in one thread after the other; no other line does."""

# fmt: off
# ruff: noqa: ANN001, ANN002, C408, E701, E702, PLC3002, SIM105

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import sys
import threading

import numpy as np
from watching import as_dict, library, tell, watch

from tensorwatch_guard.sharing import lines

LIBRARY = library("""
def write(a, value): a[...] = value
def call(f, *args):
    result = f(*args)
    return result
def call_then_write(f, a, value):
    f()
    a[...] = value
def write_then_call(a, value, f):
    a[...] = value
    f()
def each(f):
    for x in range(2): yield f(x)
class Writes:
    def __init__(self, a, value): self.a, self.value = a, value
    def __enter__(self): self.a[0] = self.value
    def __exit__(self, *error): self.a[1] = self.value
""")
numbers = itertools.count(1)


def new():
    return next(numbers)


def nothing():
    pass


def callee(a):
    before = 1
    a[0] = new()  # writes
    return before


def generator(a):
    for _ in range(2):
        a[1] = new()  # writes
        sent = yield
        a[2] = new(); sent = yield  # writes
        if sent:
            a[3] = sent  # writes


def generator_whose_yield_is_an_operand(a):
    a[4] = yield  # writes


async def coroutine(a):
    a[5] = new()  # writes
    await asyncio.sleep(0)
    a[6] = new()  # writes
    return 3


async def bystander():
    for _ in range(3):
        await asyncio.sleep(0)


async def both(a):
    task = asyncio.ensure_future(bystander())
    a[7] = (await coroutine(a)) + new()  # writes
    await task


async def numbers_of(a):
    yield 1
    a[5] = new()  # writes
    yield 2


async def over(a):
    async for _ in numbers_of(a):
        pass


class Context:
    def __init__(self, a):
        self.a = a

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.a[8] = new()  # writes
        return True


class Object:
    def __init__(self, a):
        self.a = a

    def __del__(self):
        self.a[9] = new()  # writes

    @property
    def fill(self):
        return self.a.fill(new())  # writes


def raises(a):
    a[0] = new()  # writes
    raise ValueError


def writes_and_raises(a):
    a[0] = new(); raise KeyError  # writes


def calls(a):
    callee(a)
    both_lines = callee(a) + \
        callee(a)
    LIBRARY["write"](a, new())  # writes
    LIBRARY["call"](callee, a)
    LIBRARY["call_then_write"](nothing, a, new())  # writes
    LIBRARY["write_then_call"](a, new(), nothing)  # writes
    for k in LIBRARY["each"](lambda i: a.fill(new()) or 1):  # writes
        both_lines += k
    with LIBRARY["Writes"](a, new()):  # writes
        both_lines += 1
    sorted([2, 1], key=lambda k: a.__setitem__(k, new()) or k)  # writes
    list(map(functools.partial(a.__setitem__, 0), [new(), new()]))  # writes
    (lambda: a.fill(new()))()  # writes


def statements(a):
    a[0] = new()  # writes
    a[0] = new(); b = 2  # writes
    b = 3; a[1] = new(); c = 4  # writes
    for i in range(3):
        a[i] += new()  # writes
    q = [a.__setitem__(0, new()) for i in range(2)]  # writes
    q = [nothing()
         for i in range(3)
         if a.fill(new()) is None]  # writes
    np.copyto(  # writes
        a,
        new(),
    )
    a[
        0
    ] = new()  # writes two above
    d = dict(
        x=nothing(),
        y=a.fill(new()),  # writes
        z=3)
    if a.fill(new()) is None:  # writes
        b = 4
    while a.__setitem__(0, new()) is None:  # writes
        b = 5
        break
    match b:
        case 5 if a.fill(new()) is None:  # writes
            c = 6
    a[0] = a[0]
    return b, c, d, q


def ends(a):
    try:
        raises(a)
    except ValueError:
        b = 1
    try:
        LIBRARY["call"](writes_and_raises, a)
    except KeyError:
        a[1] = new()  # writes
    finally:
        a[2] = new()  # writes
    with Context(a):
        b = 2
    with Context(a): a[3] = new()  # writes
    with contextlib.suppress(ZeroDivisionError):
        a[0] = new(); 1 / 0  # writes
    o = Object(a); b = 3
    del o
    Object(a).fill
    return b


def generators(a):
    g = generator(a); next(g); next(g); g.send(new()); next(g, None); next(g, None)
    g = generator_whose_yield_is_an_operand(a); next(g)
    b = 1
    try: g.send(new())
    except StopIteration: pass
    asyncio.run(both(a))
    asyncio.run(over(a))
    return b


def in_a_thread(a):
    b = 1
    a[10] = new()  # writes
    b = 2
    a[10] = new()  # writes
    return b


def main():
    a = np.zeros(16)
    follower = lines.make()
    started = watch(follower, 7, a)
    for case in (statements, calls, ends, generators):
        case(a)
    other = threading.Thread(target=in_a_thread, args=(a,), name="other"); other.start(); other.join()
    a[11] = new()  # writes
    writes = follower.collect()
    follower.unwatch(7)
    a[0] = 99.5
    writes += follower.collect()
    tell(started=started, why=follower.why, errors=follower.errors, running=follower.running,
         tracing=sys.gettrace() is not None or threading.gettrace() is not None,
         writes=[as_dict(write) for write in writes])


main()
