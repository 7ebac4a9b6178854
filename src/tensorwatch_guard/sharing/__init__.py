"""Memory that two sides share: who shares it, what was written to it later, on which line, and what that broke."""

from __future__ import annotations
