"""Runs the benchmarks and writes docs/benchmarks.md from their JSON.

python benchmarks/page.py [FOLDER]    FOLDER keeps the JSON; without one it goes to .benchmarks

`python benchmarks/compare.py OLD NEW` compares two such folders.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NAMES = ("calls", "aliases", "ops", "loops", "scale", "following", "start_up")
HEAD = """<!-- Written by `make bench`: do not edit, run it. -->
# Benchmarks

Figures as measured by `make bench`, the bad ones too, on the machine and at the load named here. Times are processor time
of the process unless a table says otherwise, so that other work on the machine falls out of them as far as it can; caches
are still shared with it. Bare and guarded runs take turns in one process; a ratio or a difference is that of two
neighbours, a figure the median of all, the spread the distance between the quartiles. The guard is the one you get by
default, without a printed report.
"""


def rows(table: dict[str, Any]) -> list[str]:
    """One table in Markdown."""
    names = list(dict.fromkeys(name for row in table["rows"] for name in row["cells"]))
    lines = [f"### {table['title']}", "", "|  | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for row in table["rows"]:
        texts = [row["what"], *(row["cells"].get(name, {"text": ""})["text"] for name in names)]
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |")
    return [*lines, ""]


def page(found: list[dict[str, Any]]) -> str:
    """All of them."""
    machine = found[0]["machine"]
    where = (
        f"{machine['date']}; {machine['system']}, {machine['processors']} processors, load {machine['load']} at the start; "
        f"Python {machine['python']}, torch {machine['torch']} (one thread), numpy {machine['numpy']}."
    )
    lines = [
        HEAD,
        where,
        "",
    ]
    for name, one in zip(NAMES, found, strict=True):
        lines += [f"## {one['about']}", "", f"`python benchmarks/{name}.py`", ""]
        for table in one["tables"]:
            lines += rows(table)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Run each in a process of its own."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / ".benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        command = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), "--json", str(folder / f"{name}.json")]
        subprocess.run(command, check=True)
    found = [json.loads((folder / f"{name}.json").read_text()) for name in NAMES]
    (HERE.parent / "docs" / "benchmarks.md").write_text(page(found))


if __name__ == "__main__":
    main()
