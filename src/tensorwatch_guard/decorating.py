"""A guard around every call of a function: plain, coroutine, generator and asynchronous generator functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from .guard import guard

F = TypeVar("F", bound=Callable[..., Any])
Around = Callable[[], "AbstractContextManager[None]"]


def decorated(by: guard, around: Around, function: F) -> F:
    """``function`` with ``around()`` entered for each call, of a generator as long as it runs. Its ``guard`` is ``by``."""
    if inspect.isclass(function):
        raise TypeError(f"guard decorates functions; of the class {function.__qualname__} decorate the method to be watched")
    if isinstance(function, property | staticmethod | classmethod) or not callable(function):
        kind = type(function).__name__
        raise TypeError(f"guard decorates functions, not a {kind}: write @{kind} above @guard, then it gets a guarded function")
    wrapper: Any
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with around():
                return await function(*args, **kwargs)

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with around():
                return (yield from function(*args, **kwargs))

    elif inspect.isasyncgenfunction(function):
        wrapper = _asynchronous(around, function)

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with around():
                return function(*args, **kwargs)

    wrapper.guard = by
    return cast("F", wrapper)


def _asynchronous(around: Around, function: Callable[..., Any]) -> Callable[..., Any]:
    """The decorated form of an asynchronous generator function."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with around():
            generator = function(*args, **kwargs)
            resume, value = generator.asend, None
            try:  # what ``yield from`` is to plain generators
                while True:
                    try:
                        item = await resume(value)
                    except StopAsyncIteration:
                        return
                    try:
                        value = yield item
                        resume = generator.asend
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume, value = generator.athrow, error
            finally:
                await generator.aclose()

    return wrapper
