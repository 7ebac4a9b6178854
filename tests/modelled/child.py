"""Holds random programs against the model in a process of its own: ``python -m modelled.child MODE EXAMPLES``.

Exact lines need ``sys.settrace``, which coverage holds in the process of the tests.
"""

from __future__ import annotations

import sys

from modelled.searching import search


def main() -> int:
    """0 where all programs fit; else the smallest that does not is printed."""
    problem = search(sys.argv[1], int(sys.argv[2]))
    print(problem, end="")
    return bool(problem)


if __name__ == "__main__":
    sys.exit(main())
