"""PyTorch's writes are the user's lines; torch.compile does not notice that it is looked at."""

from __future__ import annotations

import pytest

from follow_children import child, marked

pytest.importorskip("torch")


def test_writes_of_modules_optimizers_and_loaders() -> None:
    told = child("with_torch.py")
    assert told["started"] == [True, True, True]
    assert told["errors"] == []
    assert {write["line"] for write in told["writes"]} == marked("with_torch.py")
    assert all(write["exact"] for write in told["writes"])
    assert told["before"] < told["sequence"] == told["after"]


@pytest.mark.parametrize("imported", ["early", "late"])
def test_dynamo_counts_the_same(imported: str) -> None:
    plain, followed = child("compiled.py", "plain", imported), child("compiled.py", "followed", imported)
    assert (plain["written"], followed["started"], followed["written"]) == (0, True, 6)
    assert followed["results"] == plain["results"]
    assert followed["counted"] == plain["counted"]
    assert plain["counted"]
