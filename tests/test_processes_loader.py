"""DataLoader workers under a guard: what a dataset does to its own memory is found with its line."""

from __future__ import annotations

from typing import Any

import pytest

from process_runs import answer, line_of

WORKERS = {"dataloader worker 0", "dataloader worker 1"}


def found(told: dict[str, Any], kind: str, mark: str) -> list[dict[str, Any]]:
    line = line_of("loader.py", mark)
    return [
        finding
        for finding in told["report"]["findings"]
        if finding["kind"] == kind and finding["site"] and finding["site"]["line"] == line
    ]


@pytest.mark.parametrize("how", [("fork",), ("fork", "persistent"), ("spawn",)], ids=" ".join)
def test_a_write_to_shared_memory_is_found_with_its_line_and_its_workers(how: tuple[str, ...]) -> None:
    method, *words = how
    told = answer("loader.py", method, "auto", *words)
    written = [finding for finding in found(told, "mutation", "written") if finding["details"]["exact"]]
    assert len(written) == 1
    assert set(written[0]["details"]["processes"]) <= WORKERS
    assert written[0]["details"]["writer"] == "numpy"
    (shared,) = found(told, "alias", "shared")
    assert shared["details"]["processes"] == dict.fromkeys(WORKERS, 16)
    (read,) = found(told, "read", "read")
    assert read["count"] == 32
    roles = [row["role"] for row in told["report"]["run"]["processes"]]
    assert roles == ["main", *sorted(WORKERS)]
    assert "dataloader worker 1" in told["text"]


def test_children_can_be_left_alone() -> None:
    told = answer("loader.py", "fork", "auto", "unfollowed")
    assert found(told, "alias", "shared") == []
    assert "processes" not in told["report"]["run"]


def test_batches_are_the_same_with_and_without() -> None:
    followed = answer("loader.py", "fork", "exact")
    assert followed["batches"] == answer("loader.py", "fork", "off", "unfollowed")["batches"]
