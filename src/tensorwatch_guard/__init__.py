"""tensorwatch_guard shows where training waits, copies and shares memory between PyTorch, NumPy and the device.

Importing this package imports neither torch nor numpy: public names are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

__version__ = "0.1.0"
