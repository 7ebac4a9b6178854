"""``docs/options.md``, written from the table of options: what may be asked for, where, and how it is spelled there."""

from __future__ import annotations

from typing import Final

from .levels import FOLLOWS_LEVEL, GOOD_SETTINGS
from .options import KILL_SWITCH, OPTIONS, TABLE, VARIABLE, Option
from .words import DIRECTIONS

_HEAD: Final = f"""\
<!-- Written by `python -m tensorwatch_guard.options_page > docs/options.md`; a test holds it equal. -->
# Options

One table, four ways to give a value. A later one in this list overrules an earlier one, option by option:

1. `[{TABLE}]` in the nearest `pyproject.toml` that has it, in or above the current directory. The command line, the
   variable and pytest read it; `with guard():` in code never does. Paths in it are relative to that file.
2. Environment variables. `{VARIABLE}=1` (or a level) switches the guard on for any Python program in which the
   package is installed, `{VARIABLE}_<OPTION>` sets an option, `{KILL_SWITCH}=1` switches every guard off.
3. The command line: `tensorwatch-guard run --sync error train.py`.
4. Keywords, in code: `guard(sync="error")`. They stand alone: what code asks for does not change with the surroundings.

**Levels and limits.** `off` < `log` < `warn` < `error`. `log` records, `warn` also warns at your line, `error` raises
`GuardViolation` at the first moment the guard knows. `warn:implicit` and `error:implicit` leave alone what was written
out (`.item()`, `.cpu()`) and hold for what was not (`if t:`, `print(t)`, a mask). A whole number allows at most so many
in the run; `limit(2, per="step")` (`2/step` in text) so many per `step`, `site` or `run`; 0 raises at once.

A value that cannot be meant is an error that lists the good ones, before anything is watched; from the variable it is a
line on stderr, and the program runs unguarded.
"""


def page() -> str:
    """The whole page as Markdown."""
    rows = [
        "| option | default | values | what it does |",
        "|---|---|---|---|",
        *(_line(row) for row in OPTIONS),
    ]
    spelled = [
        "| option | in code and pyproject | variable | command line |",
        "|---|---|---|---|",
        *(_spelling(row) for row in OPTIONS),
    ]
    return "\n".join((_HEAD, *rows, "", "## Spelled out", "", *spelled, ""))


def _line(row: Option) -> str:
    good = "a level or a limit" if row.good == GOOD_SETTINGS else row.good
    return f"| `{row.name}` | {_default(row)} | {good} | {row.help} |"


def _default(row: Option) -> str:
    if isinstance(row.default, bool):
        return "yes" if row.default else "no"
    if row.default is not None:
        return f"`{row.default}`"
    if row.good != GOOD_SETTINGS:
        return "-"
    if row.name in DIRECTIONS:
        return "as `transfer`"
    return "as `level`" if row.name in FOLLOWS_LEVEL else "`log`"


def _spelling(row: Option) -> str:
    keyword = f"`{row.name}`" if "keyword" in row.where else "-"
    variable = f"`{row.variable}`" if "env" in row.where else "-"
    flag = row.flag if not row.is_switch else f"{row.flag}`, `--no-{row.flag[2:]}"
    command = f"`{flag}`" if "cli" in row.where else "-"
    return f"| {row.name} | {keyword} | {variable} | {command} |"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - the page is what this command is for
