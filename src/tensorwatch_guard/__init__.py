"""tensorwatch_guard shows where training waits, copies and shares memory between PyTorch, NumPy and the device.

Importing this package imports neither torch nor numpy: public names are looked up when they are first used (PEP 562).
Where the environment variable asks for a guard it is there ahead of pytest, which would complain: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as type checkers know it, without importing typing at interpreter start
if TYPE_CHECKING:
    from types import ModuleType

    from .guard import guard
    from .levels import ConfigError, Limit, limit
    from .policy.allow import allow
    from .policy.violation import GuardViolation, TensorWatchWarning
    from .report.model import Report, ReportError
    from .simulate import simulated_accelerator
else:
    ModuleType = type(sys)  # without importing types

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "GuardViolation",
    "Limit",
    "Report",
    "ReportError",
    "TensorWatchWarning",
    "__version__",
    "allow",
    "guard",
    "limit",
    "simulated_accelerator",
]

_ROOMS = {
    "ConfigError": "levels",
    "GuardViolation": "policy.violation",
    "Limit": "levels",
    "Report": "report.model",
    "ReportError": "report.model",
    "TensorWatchWarning": "policy.violation",
    "allow": "policy.allow",
    "guard": "guard",
    "limit": "levels",
    "simulated_accelerator": "simulate",
}


class _Package(ModuleType):
    """This package. Loading the room ``guard`` must not put the room where the class of that name is looked up."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _ROOMS):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if room == "guard":  # a guard of the process that waits for torch must not start amid the loading of this room
        import_module("torch")
    value: object = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
