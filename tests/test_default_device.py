"""A guard that is first opened under a default device of the user's: what it makes for itself lives on the CPU."""

from __future__ import annotations

import json
import sys

from process_runs import launch

PROGRAM = """
import json, numpy as np, torch
with torch.device("meta"):
    from tensorwatch_guard import guard
    with guard(report=False, writes="check") as g:
        kept = np.ones(3, np.float32)
        shared = torch.from_numpy(kept)
        g.check()
        kept += 1
        g.check()
faults = [one.text for one in g.report.notices if one.rule != "TWG904"]  # a busy machine may cut a look short
print(json.dumps({"notices": faults, "kinds": [one.kind for one in g.report.findings]}))
"""


def test_shared_memory_is_followed_all_the_same() -> None:
    ended = launch([sys.executable, "-c", PROGRAM])
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"notices": [], "kinds": ["alias", "mutation"]}
