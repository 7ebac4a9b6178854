"""Rules about refused conversions (6xx), hints (7xx), allowances (8xx) and the guard itself (9xx)."""

from __future__ import annotations

from typing import Final

from .model import Rule

REFUSALS: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG601",
        "needs-cpu",
        "the tensor lives on a device",
        "note",
        "NumPy can only see host memory.",
        "copy it to the host first: .cpu().numpy()",
        "refusal",
    ),
    Rule(
        "TWG602",
        "needs-detach",
        "the tensor requires a gradient",
        "note",
        "Operations on the array would be invisible to autograd, so the conversion is refused.",
        "detach it first: .detach().numpy() shares the parameter's own memory, .detach().numpy().copy() "
        "does not",
        "refusal",
    ),
    Rule(
        "TWG603",
        "needs-one-element",
        "only a tensor of one element can become a number",
        "note",
        "item(), float(), int(), bool() and if need exactly one element; which shape it has does not matter.",
        "reduce first (.sum(), .any(), .all(), x[0]), or read all with .tolist()",
        "refusal",
    ),
    Rule(
        "TWG604",
        "negative-strides",
        "the array has negative strides",
        "note",
        "Reversed views such as a[::-1] or cv2's image[..., ::-1] cannot be expressed as a tensor.",
        "make it dense first: np.ascontiguousarray(a), or flip the tensor afterwards: torch.flip",
        "refusal",
    ),
    Rule(
        "TWG605",
        "unsupported-dtype",
        "the dtype has no counterpart on the other side",
        "note",
        "NumPy has no bfloat16 and no quantized types; PyTorch has no strings, objects or foreign byte "
        "orders.",
        "convert first: .float().numpy(), array.astype(np.float32), or stack equal-sized rows into one array",
        "refusal",
    ),
    Rule(
        "TWG606",
        "needs-a-copy",
        "sharing was demanded, and only a copy is possible",
        "note",
        "copy=False asks for the same memory, which this conversion cannot give.",
        "leave copy=False out, or give it the right dtype, device and layout beforehand",
        "refusal",
    ),
    Rule(
        "TWG607",
        "needs-dense",
        "the tensor is sparse, nested or a lazy view",
        "note",
        "Sparse and nested tensors, and tensors with a pending conjugate or negation, have no plain memory "
        "to share.",
        "make it plain first: .to_dense(), .resolve_conj() or .resolve_neg()",
        "refusal",
    ),
    Rule(
        "TWG609",
        "refused",
        "the conversion was refused",
        "note",
        "PyTorch or NumPy raised; the message says why.",
        "see the message of the exception",
        "refusal",
    ),
)

HINTS: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG701",
        "reads-in-a-row",
        "several values are read one by one",
        "note",
        "Each read waits for the device; after the first wait the others still cost a copy and a launch.",
        "read them together: torch.stack([...]).tolist()",
    ),
    Rule(
        "TWG702",
        "ping-pong",
        "the same memory goes to the host and back",
        "note",
        "Data is fetched from the device and sent back within one step.",
        "do the work in between on the device",
    ),
    Rule(
        "TWG703",
        "constant-copied",
        "the same values are copied to the device again and again",
        "note",
        "The contents did not change since the last copy.",
        "copy it once, before the loop, or register it as a buffer of the module",
    ),
    Rule(
        "TWG704",
        "filled-then-moved",
        "a tensor is filled on the host and then moved",
        "note",
        "Filling costs the host, and moving costs a copy; the device can fill its own memory.",
        "make it there: torch.randn(..., device=device)",
    ),
    Rule(
        "TWG705",
        "pinned-in-the-loop",
        "memory is pinned anew in each step",
        "note",
        "Pinning asks the driver for page-locked memory and copies into it; done for each batch it can cost more than it "
        "gains.",
        "let the DataLoader pin (pin_memory=True), or pin one buffer and fill it again when its copy is done",
    ),
)

ALLOWANCES: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG801",
        "stale-allowance",
        "an allowance allowed nothing",
        "note",
        "The line or block it stands on did nothing of that kind in this run. Left standing it would hide "
        "the next one.",
        "remove it, or check that the run reached that line",
    ),
    Rule(
        "TWG802",
        "vanished-from-baseline",
        "a finding of the baseline did not happen",
        "note",
        "It was mended, or this run did not get there.",
        "update the baseline: --update-baseline",
    ),
    Rule(
        "TWG803",
        "unknown-allowance",
        "an allowance names no kind, and so allows nothing",
        "warning",
        "A word in its brackets is no kind of finding. The comment looks as if it allowed something, and does not.",
        "write a kind (read, sync, transfer, alias, mutation, hazard, refusal) or a direction (h2d, d2h, d2d)",
    ),
    Rule(
        "TWG804",
        "left-out",
        "a rule of your own left findings out",
        "note",
        "guard(ignore=...) said yes to them. They are in no figure of this report and break no level.",
        "run once without ignore= to see what it hides",
    ),
    Rule(
        "TWG805",
        "broken",
        "a level or a limit was broken",
        "warning",
        'guard(sync="error") or a limit such as sync=limit(1, per="step") forbids what happened there. The exception '
        "that told it may have been caught, or the run may have gone on without it.",
        "mend the place, raise the limit, or allow it there with a reason",
    ),
)

OWN: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG901",
        "guard-failed",
        "the guard itself failed; training was not touched",
        "warning",
        "An error in one of the guard's hooks was caught and counted. Events at that point may be missing "
        "from this report.",
        "please report it with the traceback in the JSON file; TENSORWATCH_GUARD_DISABLE=1 switches the "
        "guard off",
    ),
    Rule(
        "TWG902",
        "truncated",
        "the report was cut",
        "warning",
        "More places were found than the guard keeps in memory. Counts of what is shown are right, others "
        "are missing.",
        "guard a smaller part of the program",
    ),
    Rule(
        "TWG903",
        "layer-missing",
        "a layer could not run",
        "note",
        "Something else holds what it needs (a debugger, coverage), or the platform does not offer it.",
        "tensorwatch-guard doctor says what can run here, and why not the rest",
    ),
    Rule(
        "TWG904",
        "budget-spent",
        "looking at shared memory was cut short",
        "note",
        "Comparing contents reached its share of the run's time. Some writes may be seen late, or not at "
        "all. Of a boundary that was passed over the next look makes up: a write is told with a wider interval.",
        'guard fewer or smaller arrays, or writes="exact" for a short part',
    ),
    Rule(
        "TWG905",
        "part-unreadable",
        "a part of a merged report could not be read",
        "warning",
        "The file is missing, broken or of another schema; its findings are not in this report.",
        "run again, or merge without it",
    ),
    Rule(
        "TWG906",
        "process-unheard",
        "a process ended before its first word",
        "note",
        "It was killed, or called os._exit, before it had written its part of the report: what happened in it is not here.",
        "see why it was killed; a process that returns, raises or calls sys.exit loses nothing",
    ),
)
