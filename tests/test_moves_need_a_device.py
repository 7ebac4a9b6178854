"""``to``, ``cpu``, ``copy_``: every program calls them often, so they are patched only while something can move."""

from __future__ import annotations

import pytest
import torch

from tensorwatch_guard import guard, simulated_accelerator

BUILT_FOR_ONE = torch.version.cuda is not None or torch.version.hip is not None


@pytest.mark.skipif(BUILT_FOR_ONE, reason="this torch is built for a device: it may always be there")
@pytest.mark.filterwarnings("ignore:simulated_accelerator")
def test_they_are_watched_while_a_device_is_there() -> None:
    with guard(report=False) as g:
        assert "to" not in vars(torch.Tensor)
        with simulated_accelerator("cuda"):
            assert "to" in vars(torch.Tensor)
            torch.ones(2).to("cuda")
        assert "to" not in vars(torch.Tensor)
    (finding,) = g.report.transfers
    assert finding.op == "Tensor.to"
