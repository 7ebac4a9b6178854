"""What a signal handler raises amid a weak reference's call-back of ours reaches the program, with what it says."""

from __future__ import annotations

import signal
import weakref
from typing import Any
from unittest import mock

import pytest

from tensorwatch_guard.sharing.interrupted import pass_on
from tensorwatch_guard.sites import from_signal_handler


class Gone:
    """Something that ends."""


def times_out(number: int, frame: Any) -> None:
    raise TimeoutError("too long", number)


def interrupted(_: object) -> object:
    try:
        signal.raise_signal(signal.SIGUSR1)
    except BaseException as error:
        return pass_on(error)
    return None


def broken(_: object) -> object:
    try:
        int("ours")
    except BaseException as error:
        return pass_on(error)


def ends(callback: Any) -> None:
    gone = Gone()
    watched = weakref.ref(gone, callback)
    del gone
    for _ in range(3):  # within these lines it comes
        assert watched() is None


def test_it_is_raised_in_the_program() -> None:
    before = signal.signal(signal.SIGUSR1, times_out)
    try:
        with pytest.raises(TimeoutError) as caught:
            ends(interrupted)
        assert caught.value.args == ("too long", signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_bug_of_ours_is_not() -> None:
    ends(broken)


def test_a_handler_that_answers_whatever_it_is_asked_is_no_endless_question() -> None:
    before = signal.signal(signal.SIGUSR1, mock.Mock())
    try:
        assert not from_signal_handler(ValueError("ours"))
    finally:
        signal.signal(signal.SIGUSR1, before)

