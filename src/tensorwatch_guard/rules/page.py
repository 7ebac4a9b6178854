"""``docs/rules.md``, written from the tables: every rule with why, how to mend and how to allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import RULES

if TYPE_CHECKING:
    from .model import Rule

_HEAD: Final = """\
<!-- Written by `python -m tensorwatch_guard.rules > docs/rules.md`; a test holds it equal. -->
# Rules

Each finding names a rule. Here is what it means, how to mend it, and how to allow it where it is meant.

- **note**: true, and nothing to mend; **warning**: costs time in every step, or values changed behind
  somebody's back; **error**: a result is wrong; **critical**: memory that is gone, a crash in waiting.
- Waits and copies that happen in one of 20 steps or less are notes, whatever is said below. A later write
  that was then used (in backward, in a copy in flight) is an error.
- To allow a line, give a reason: `# tensorwatch: allow[sync] metrics every 100 steps`; around a block,
  `with allow("sync", reason="metrics every 100 steps"):`. Allowed findings are counted and shown with reasons.
"""

_CHAPTERS: Final = (
    ("TWG1", "Copies between devices"),
    ("TWG20", "Waits for a device"),
    ("TWG23", "Host reads"),
    ("TWG3", "Same memory"),
    ("TWG4", "Written later"),
    ("TWG5", "Broken"),
    ("TWG6", "Could not convert"),
    ("TWG7", "Hints about several findings together"),
    ("TWG8", "Allowances and baselines"),
    ("TWG9", "The guard itself"),
)


def _paragraph(rule: Rule) -> str:
    weight = rule.severity + (", once it repeats step by step" if rule.only_repeated else "")
    lines = [
        f'<a id="{rule.id.lower()}"></a>',
        f"### {rule.id} {rule.slug}",
        f"*{weight}*: {rule.title}.",
        "",
        f"- **Why.** {rule.why}",
        f"- **Mend.** {rule.remedy[0].upper()}{rule.remedy[1:]}.",
    ]
    if rule.allow:
        lines.append(f"- **Allow.** `# tensorwatch: allow[{rule.allow}] your reason` on the line.")
    return "\n".join(lines) + "\n"


def listed(rule: Rule) -> str:
    """A rule in one line."""
    return f"{rule.id}  {rule.severity:<8}  {rule.title}"


def explained(rule: Rule) -> str:
    """A rule for a terminal: what it means, why, how to mend it and how to allow it."""
    lines = [f"{rule.id} {rule.slug} ({rule.severity}): {rule.title}", f"why: {rule.why}", f"do: {rule.remedy}"]
    if rule.allow:
        lines.append(f"to allow it: # tensorwatch: allow[{rule.allow}] your reason")
    return "\n".join(f"{'  ' if at else ''}{line}" for at, line in enumerate(lines))


def page() -> str:
    """The whole page as Markdown."""
    parts, chapters = [_HEAD], list(_CHAPTERS)
    for rule in RULES:
        if chapters and rule.id.startswith(chapters[0][0]):
            parts.append(f"## {chapters.pop(0)[1]}\n")
        parts.append(_paragraph(rule))
    return "\n".join(parts)
