"""Rules about memory that PyTorch and NumPy share: sharing (3xx), later writes (4xx), what they break (5xx).

The weights follow what is known to be wrong: sharing is a note, for most sharing is meant and harmless; a write
through one side while the other lives is a warning; a written value that was used is an error; memory that is
gone is critical.
"""

from __future__ import annotations

from typing import Final

from .model import Rule

ALIASES: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG301",
        "array-of-a-tensor",
        "an array shares a tensor's memory",
        "note",
        "t.numpy() and np.asarray(t) copy nothing: what is written to one is read from the other.",
        "nothing to mend while nobody writes; a copy of its own is t.numpy().copy()",
        "alias",
    ),
    Rule(
        "TWG302",
        "tensor-of-an-array",
        "a tensor shares an array's memory",
        "note",
        "torch.from_numpy copies nothing: what is written to one is read from the other.",
        "nothing to mend while nobody writes; a copy of its own is torch.tensor(array)",
        "alias",
    ),
    Rule(
        "TWG303",
        "shares-by-dtype",
        "a tensor shares an array's memory, because its dtype happened to fit",
        "note",
        "torch.Tensor(a), as_tensor(a) and asarray(a) share where dtype and device fit and copy where they "
        "do not.",
        "say which one is meant: torch.from_numpy(a) shares, torch.tensor(a) copies",
        "alias",
    ),
    Rule(
        "TWG304",
        "shared-by-protocol",
        "memory is shared through DLPack or a buffer",
        "note",
        "DLPack and frombuffer copy nothing and may make read-only memory writable.",
        "nothing to mend while nobody writes; .clone() or .copy() gives memory of its own",
        "alias",
    ),
    Rule(
        "TWG305",
        "shared-state",
        "state of a module is shared",
        "note",
        "state_dict() hands out the live parameters, and load_state_dict(assign=True) keeps what it is "
        "given.",
        "nothing to mend while nobody writes; to keep a state use copy.deepcopy(model.state_dict())",
        "alias",
    ),
    Rule(
        "TWG306",
        "severed-sharing",
        "an array and a tensor shared memory and no longer do",
        "note",
        "Converting a module (double(), to(dtype)), assigning .data, or share_memory_() gives the tensor other memory. The "
        "array keeps the old: what is written to one is not seen in the other any more.",
        "take the array (or make the tensor) again afterwards",
        "alias",
    ),
)

MUTATIONS: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG401",
        "written-by-numpy",
        "NumPy wrote into memory that a tensor shares",
        "warning",
        "The tensor's values changed with it. PyTorch's version counter does not see such writes, so "
        "autograd cannot object.",
        "copy where the memory is shared, or write into a new array instead of in place",
        "mutation",
    ),
    Rule(
        "TWG402",
        "written-by-torch",
        "PyTorch wrote into memory that an array or another tensor shares",
        "warning",
        "The other side changed with it: what was kept as a snapshot follows the live values, what was a source has new ones.",
        "copy where the memory is shared: .numpy().copy(), .clone(), copy.deepcopy(model.state_dict())",
        "mutation",
    ),
    Rule(
        "TWG403",
        "written-by-someone",
        "shared memory was written, by whom is not known",
        "warning",
        "The contents differ from the last look; both sides changed.",
        'copy where the memory is shared; guard(writes="exact") names the writing line',
        "mutation",
    ),
)

HAZARDS: Final[tuple[Rule, ...]] = (
    Rule(
        "TWG501",
        "stale-gradient",
        "backward used values that were overwritten after forward",
        "error",
        "NumPy, .data and fused optimizers write past autograd's version counter, so PyTorch does not object. "
        "The gradients are wrong, and nothing else tells you.",
        "give forward memory of its own (.clone(), .copy()), or write only after backward",
        "hazard",
    ),
    Rule(
        "TWG502",
        "possibly-stale-gradient",
        "backward may have used values that were overwritten after forward",
        "note",
        "The write lies in an interval that holds the forward pass too; whether it came after it is not "
        "known.",
        'guard(writes="exact") finds the moment; memory of its own for forward (.clone()) is safe either way',
        "hazard",
    ),
    Rule(
        "TWG503",
        "dangling-alias",
        "an array or tensor points to memory that is gone",
        "critical",
        "The storage moved or was freed while another side still points to the old memory. Touching it "
        "reads garbage or ends the process.",
        "drop the other side first, or copy it; call share_memory_() and resize_() before memory "
        "is shared",
        "hazard",
    ),
    Rule(
        "TWG504",
        "async-copy",
        "memory of a copy in flight was used too early",
        "error",
        "A non_blocking copy runs on after the call. Writing its source, or reading its result on the host, "
        "before it is done gives a mixture of old and new values.",
        "wait for an event before the write or the read, or use two buffers in turn",
        "hazard",
    ),
    Rule(
        "TWG505",
        "early-view",
        "the result of a copy in flight was used as an array before it was done",
        "note",
        "A non_blocking copy runs on after the call. Until somebody has waited the array may hold old values; when it is read "
        "cannot be seen.",
        "wait for an event before .numpy(), or be sure that nothing reads the array until then",
        "hazard",
    ),
    Rule(
        "TWG506",
        "followed-state",
        "a state_dict was used that has followed the live weights",
        "error",
        "state_dict() hands out the live parameters: after the next optimizer step it holds the new weights. Loaded or "
        "saved as the best or the first ones, it is neither.",
        "keep copy.deepcopy(model.state_dict()), or save it before the weights change",
        "hazard",
    ),
    Rule(
        "TWG509",
        "hazard",
        "shared memory was used in an unsafe way",
        "error",
        "See the details of the finding.",
        "copy where the memory is shared",
        "hazard",
    ),
)
