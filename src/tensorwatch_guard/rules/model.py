"""What a rule is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..words import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing the guard has to say: what it means, how to mend it, how to allow it."""

    id: str
    """``TWG`` and three digits; never given to another meaning."""
    slug: str
    title: str
    """What happened, as a user would say it; the text report and the docs start with it."""
    severity: Severity
    """What a finding of this rule weighs where it repeats; see ``severity_of``."""
    why: str
    remedy: str
    """What to do, as an order; used where a finding offers nothing more concrete."""
    allow: str = ""
    """The kind to name in ``# tensorwatch: allow[...]``; empty where nothing is to be allowed."""
    only_repeated: bool = False
    """Normal when it happens once in a run (moving a model): a note until it repeats step by step."""
