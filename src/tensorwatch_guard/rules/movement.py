"""Rules about copies between devices (1xx), waits for a device and host reads (2xx).

The facts behind them: CUDA sources of PyTorch 2.6 and the headers of 2.13 (``aten/src/ATen/native/cuda``),
PyTorch's own list ``test_sync_warning``, CUDA's *API synchronization behavior*.
"""

from __future__ import annotations

from typing import Final

from .model import Rule

TRANSFERS: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG101",
        "host-to-device-copy",
        "a copy from host to device that the host waits for",
        "warning",
        "Memory that is not pinned is first copied to a staging buffer; the host waits for the stream and "
        "for that copy.",
        "pin the source (DataLoader(pin_memory=True)) and pass non_blocking=True, or make the tensor on the "
        "device",
        "transfer",
    ),
    Rule(
        "TWG102",
        "device-to-host-copy",
        "a copy from device to host that the host waits for",
        "warning",
        "The result must be complete before the call returns, so the host waits for all work queued before "
        "it.",
        "copy late and rarely: keep results on the device and fetch them together, every N steps",
        "transfer",
    ),
    Rule(
        "TWG103",
        "device-to-device-copy",
        "a copy between two devices",
        "note",
        "The host does not wait, but both devices are kept busy, and without peer access the copy is staged.",
        "make the tensor on the device that uses it, or move it once before the loop",
        "transfer",
    ),
    Rule(
        "TWG104",
        "module-moved",
        "a whole module is moved",
        "warning",
        "Every parameter and buffer is copied, one blocking copy each. Once before training that is as it "
        "should be.",
        "move the module once, before the loop and before the optimizer is made",
        "transfer",
        only_repeated=True,
    ),
    Rule(
        "TWG105",
        "built-on-the-host",
        "a tensor is built on the host and then copied to the device",
        "warning",
        "torch.tensor(..., device=) and x[[0, 1]] fill host memory first; the copy to the device blocks, "
        "and no dispatch mode sees it.",
        "make constants once, outside the loop, or on the device: torch.zeros, full, arange(..., device=)",
        "transfer",
    ),
    Rule(
        "TWG106",
        "non-blocking-that-blocks",
        "non_blocking=True was asked for, and the host waits all the same",
        "warning",
        "Only pinned and dense host memory can be copied in the background; other memory is staged while "
        "the host waits.",
        "pin the host memory (DataLoader(pin_memory=True) or .pin_memory() once) and make it contiguous()",
        "transfer",
    ),
    Rule(
        "TWG107",
        "host-operand-in-device-op",
        "an operand on the host is copied over for an operation on the device",
        "warning",
        "Indices and 0-d tensors on the host are copied to the device inside the operation, each time.",
        "keep the index or scalar on the device, or use a Python number or a slice",
        "transfer",
    ),
    Rule(
        "TWG108",
        "asynchronous-copy",
        "a copy in the background",
        "note",
        "The host does not wait. The source must stay untouched, and the result unread, until the copy is "
        "done.",
        "nothing to mend; wait for an event before you write to the source or read the result on the host",
        "transfer",
    ),
    Rule(
        "TWG110",
        "state-loaded",
        "parameters are copied in from a state dict",
        "warning",
        "Every entry is copied to its parameter's device, one blocking copy each. Once per run that is as "
        "it should be.",
        "load once, before the loop; load to the right place with torch.load(..., map_location=device)",
        "transfer",
        only_repeated=True,
    ),
)

SYNCS: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG200",
        "host-waits",
        "the host waits for the device",
        "warning",
        "The device runs behind the host. A call that needs a result stops the host until all queued work "
        "is done.",
        "keep the value on the device, or read it every N steps",
        "sync",
    ),
    Rule(
        "TWG201",
        "scalar-read-waits",
        "reading a value makes the host wait for the device",
        "warning",
        "One number is copied to the host, and the host waits for all work queued before it, every time.",
        "keep the tensor (.detach()) and read it every N steps; read several at once: "
        "torch.stack(...).tolist()",
        "sync",
    ),
    Rule(
        "TWG202",
        "truth-value-waits",
        "a tensor in a condition makes the host wait for the device",
        "warning",
        "if, while, and, or, not and assert need a Python bool, which stands on the device; nothing shows "
        "the read.",
        "choose on the device with torch.where, check with torch._assert_async, or test every N steps",
        "sync",
    ),
    Rule(
        "TWG203",
        "print-waits",
        "printing a tensor makes the host wait for the device",
        "warning",
        "print, repr and f-strings read every element shown, one wait for each, also in log lines that are "
        "never written.",
        "print .shape, or print every N steps after one .cpu()",
        "sync",
    ),
    Rule(
        "TWG204",
        "number-needed",
        "a tensor stands where a host number is needed",
        "warning",
        "Sizes, indices, bounds and fill values are needed on the host to launch the operation, so they are "
        "read back.",
        "pass a Python number, or stay on the device: torch.where, index_select, gather",
        "sync",
    ),
    Rule(
        "TWG205",
        "membership-waits",
        "`in` on a tensor makes the host wait for the device",
        "warning",
        "`value in tensor` compares on the device and reads the answer back.",
        "compare on the device, (x == value).any(), and read it late; keep a Python set for host values",
        "sync",
    ),
    Rule(
        "TWG206",
        "size-from-data",
        "the result's size depends on the data, so the host waits for it",
        "warning",
        "Masks, nonzero, unique and their kin must count on the device before the result can be allocated "
        "on the host.",
        "keep fixed shapes: torch.where(mask, x, 0), masked_fill, nonzero_static(size=), or weights of 0 "
        "and 1",
        "sync",
    ),
    Rule(
        "TWG207",
        "masked-write-waits",
        "a write through a mask makes the host wait for the device",
        "warning",
        "With a tensor on the right, the mask is turned into positions first, and their number is read back.",
        "torch.where(mask, value, x); a plain number (x[mask] = 0.0) needs no wait either",
        "sync",
    ),
    Rule(
        "TWG208",
        "comparison-waits",
        "comparing whole tensors makes the host wait for the device",
        "warning",
        "equal and allclose answer with a Python bool, which is read back from the device.",
        "keep it for tests; in a loop compare on the device, (a == b).all(), and read it late",
        "sync",
    ),
    Rule(
        "TWG209",
        "linalg-check-waits",
        "linear algebra checks its success on the host",
        "warning",
        "After a factorisation the error code is read back, so that an exception can be raised at once.",
        "use the _ex variant (torch.linalg.inv_ex, cholesky_ex ...) and look at info later",
        "sync",
    ),
    Rule(
        "TWG210",
        "lengths-on-device",
        "lengths on the device are read back",
        "warning",
        "ctc_loss and quantizer observers need lengths or ranges on the host.",
        "pass lengths as a CPU tensor or a tuple of ints",
        "sync",
    ),
    Rule(
        "TWG211",
        "wait-inside-an-operation",
        "an operation waits for the device inside",
        "warning",
        "The driver reported a wait inside PyTorch's own code that no read or copy in your code explains.",
        "see the operation under `via`; look for a variant that is given its sizes by the host",
        "sync",
    ),
    Rule(
        "TWG220",
        "explicit-synchronize",
        "the host waits because it was asked to",
        "warning",
        "synchronize() is right around a measurement and wrong in every step: the device runs dry while the "
        "host waits.",
        "where it completes a background copy to the host, wait for an event of that copy; else remove it, or measure with "
        "torch.cuda.Event(enable_timing=True)",
        "sync",
        only_repeated=True,
    ),
    Rule(
        "TWG221",
        "event-waited-for",
        "the host waits for an event",
        "note",
        "It waits until what was recorded before the event is done. Before a pinned buffer is filled again that is what keeps "
        "the copy right: without it the copy may take the new values.",
        "keep it where a buffer is filled again, and wait for an event of some steps before; else stream.wait_event orders "
        "work without the host",
        "sync",
    ),
)

READS: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG231",
        "host-read",
        "a CPU tensor is read on the host",
        "note",
        "No wait: the value is there. The same line waits for the device as soon as the tensor lives on one.",
        "nothing to mend today",
        "read",
    ),
)
