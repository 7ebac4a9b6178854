"""``python -m tensorwatch_guard.rules`` prints ``docs/rules.md``."""

from __future__ import annotations

import sys

from .page import page

sys.stdout.write(page())
