"""A helper process that the program's own ``os.wait()`` and SIGCHLD handler never meet.

A process in between starts the helper and ends at once, so the helper belongs to init. That process in between
is made by ``clone`` with no exit signal: the kernel then sends no SIGCHLD for it, and ``wait`` without
``__WCLONE`` passes it over. Nothing of Python runs in it: it borrows this thread's memory while this thread
sleeps (as inside ``posix_spawn``), and two prepared contexts make it call ``posix_spawn`` and then ``_exit``.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
from typing import Any, Final

from .kernel import MACHINE, process_status

_CLONE_VM: Final = 0x100
_CLONE_VFORK: Final = 0x4000
_WALL: Final = 0x40000000
_PR_GET_CHILD_SUBREAPER: Final = 37

# ucontext_t on x86_64: uc_flags, uc_link, uc_stack {ss_sp, ss_flags, ss_size}, ...; 968 bytes.
_UC_LINK: Final = 8
_UC_STACK: Final = 16
_UC_STACK_SIZE: Final = 32
_CONTEXT: Final = 4096
_STACK: Final = 1 << 16


def adoption_refusal() -> str | None:
    """Why a detached process would come back to this one as a child, or None."""
    if os.getpid() == 1:
        return "this process is the first of its container, every orphan becomes its child (docker run --init helps)"
    libc = ctypes.CDLL(None)
    reaper = ctypes.c_int(0)
    if libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(reaper), 0, 0, 0) == 0 and reaper.value:
        return "this process is a subreaper, every orphan below it becomes its child"
    return None


def start_detached(arguments: list[str], environment: dict[str, str], descriptors: list[int]) -> None:
    """Start a program that is not our child, with all signals blocked and /dev/null for its standard streams.

    Args:
        arguments: the program's full path, then what it is given.
        environment: all its variables.
        descriptors: what it inherits, under the same numbers (3 or more).

    Raises:
        OSError: it could not be started.
    """
    if _prepared_contexts_work():
        _by_clone(arguments, environment, descriptors)
    else:
        _by_two_processes(arguments, environment, descriptors)


def _prepared_contexts_work() -> bool:
    """Known for glibc on x86_64; not with hardware shadow stacks, which a borrowed stack does not have."""
    if MACHINE != "x86_64" or not _glibc():
        return False
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        return "shstk" not in process_status(file.read(), "x86_Thread_features")


def _glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (OSError, ValueError):
        return False


class _Spawn:
    """Arguments of one ``posix_spawn`` call in C memory."""

    def __init__(self, libc: Any, arguments: list[str], environment: dict[str, str], descriptors: list[int]) -> None:
        words = [os.fsencode(word) for word in arguments]
        variables = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
        self.path = words[0]
        self.argv = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        self.envp = (ctypes.c_char_p * (len(variables) + 1))(*variables, None)
        self.pid = ctypes.c_int(0)
        self.actions = ctypes.create_string_buffer(512)
        libc.posix_spawn_file_actions_init(self.actions)
        for stream in range(3):
            libc.posix_spawn_file_actions_addopen(self.actions, stream, b"/dev/null", os.O_RDWR, 0)
        for number in descriptors:  # onto itself: clears close-on-exec in the new process only
            libc.posix_spawn_file_actions_adddup2(self.actions, number, number)


def _contexts(libc: Any, stack: int, memory: int, spawn: _Spawn) -> int:
    """Two contexts in ``memory``: ``posix_spawn(...)``, and after it ``_exit(0)``. Returns the first one's address."""
    pointer = ctypes.c_void_p
    first, second = memory, memory + _CONTEXT
    for context, base in ((first, stack), (second, stack + _STACK)):
        libc.getcontext(pointer(context))
        ctypes.c_uint64.from_address(context + _UC_STACK).value = base
        ctypes.c_uint64.from_address(context + _UC_STACK_SIZE).value = _STACK
    ctypes.c_uint64.from_address(first + _UC_LINK).value = second
    ctypes.c_uint64.from_address(second + _UC_LINK).value = 0
    # _exit, never exit: the memory is shared, and exit would run this process's own exit handlers
    libc.makecontext(pointer(second), ctypes.cast(libc._exit, pointer), 1, 0)
    libc.makecontext(
        pointer(first), ctypes.cast(libc.posix_spawn, pointer), 6, ctypes.byref(spawn.pid),
        ctypes.c_char_p(spawn.path), spawn.actions, None, spawn.argv, spawn.envp,
    )
    return first


def _by_clone(arguments: list[str], environment: dict[str, str], descriptors: list[int]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    spawn = _Spawn(libc, arguments, environment, descriptors)
    area = mmap.mmap(-1, 3 * _STACK + 2 * _CONTEXT, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    window = (ctypes.c_char * len(area)).from_buffer(area)
    base = ctypes.addressof(window)
    # blocked: a signal must not run this process's handlers in the borrowed memory a second time
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        context = _contexts(libc, base, base + 3 * _STACK, spawn)
        between = libc.clone(
            ctypes.cast(libc.setcontext, ctypes.c_void_p), ctypes.c_void_p(base + 3 * _STACK - 64),
            _CLONE_VM | _CLONE_VFORK, ctypes.c_void_p(context),
        )
        code = ctypes.get_errno()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    libc.posix_spawn_file_actions_destroy(spawn.actions)
    if between < 0:
        raise OSError(code, os.strerror(code))
    with contextlib.suppress(ChildProcessError):
        os.waitpid(between, _WALL)
    if spawn.pid.value == 0:
        raise FileNotFoundError(f"{arguments[0]} could not be started")


def _by_two_processes(arguments: list[str], environment: dict[str, str], descriptors: list[int]) -> None:
    """The plain way: a child that forks and ends (the program does both for ``--detach``). One SIGCHLD may be seen."""
    streams = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    keep = [(os.POSIX_SPAWN_DUP2, number, number) for number in descriptors]
    child = os.posix_spawn(
        arguments[0], [*arguments, "--detach"], environment, file_actions=[*streams, *keep],
        setsigmask=signal.valid_signals(),
    )
    with contextlib.suppress(ChildProcessError):  # somebody's os.wait() was faster
        os.waitpid(child, 0)
