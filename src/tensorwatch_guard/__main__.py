"""``python -m tensorwatch_guard``: the same as the command ``tensorwatch-guard``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
