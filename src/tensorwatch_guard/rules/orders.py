"""What to do about calls and operations that are known to wait: the tables that ``advice`` looks up.

Adding one is a row: a pattern over the source text of the finding's line, or an operation's name, and one short order.
"""

from __future__ import annotations

import re
from typing import Final

CALLS_THAT_READ: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"scaler\.step\("),
        "GradScaler.step reads its inf check once a step; a fused optimizer (fused=True) does without",
    ),
    (re.compile(r"clip_grad_norm_\("), "pass error_if_nonfinite=False, and log the norm every N steps"),
    (
        re.compile(r"(?:enc|dec|transformer)\w*\(.*mask", re.IGNORECASE | re.DOTALL),
        "say is_causal=True (tgt_is_causal=True) with a causal mask: without it the mask is compared to find out",
    ),
    (re.compile(r"\.get_scale\("), "read the scale every N steps; get_scale() waits each time"),
    (
        re.compile(r"\b(Normal|Categorical|Bernoulli|Beta|Dirichlet|Gamma|distributions\.\w+)\("),
        "pass validate_args=False: torch.distributions checks its arguments on the host",
    ),
    (
        re.compile(r"\.log_prob\("),
        "make the distribution with validate_args=False: it checks each value on the host",
    ),
    (re.compile(r"ReduceLROnPlateau|\b\w*sched\w*\.step\("), "give the scheduler a host number, once an epoch"),
    (
        re.compile(r"\.step\(\s*(?:closure=)?\w*closure\w*\s*\)"),
        "an optimizer that calls its closure several times a step (L-BFGS) decides on the host: another one does without",
    ),
)
"""Calls that read a tensor somewhere inside PyTorch: the source text names the call, not the read."""

SIZES: Final[dict[str, str]] = {
    "Tensor.__getitem__": "keep the shape: torch.where(mask, x, 0), masked_fill, or weights of 0 and 1",
    "torch.masked_select": "keep the shape: torch.where(mask, x, 0), or weights of 0 and 1",
    "torch.nonzero": "torch.nonzero_static(x, size=n) has a known size; or work with the mask itself",
    "torch.argwhere": "torch.nonzero_static(x, size=n) has a known size; or work with the mask itself",
    "torch.where": "use the mask itself, torch.where(mask, a, b), or torch.nonzero_static(x, size=n)",
    "torch.bincount": "torch.zeros(n, dtype=torch.long, device=device).scatter_add_(0, i, torch.ones_like(i)), i of int64",
    "torch.repeat_interleave": "pass output_size=, which is known on the host in most cases",
    "torch.histc": "pass min= and max=",
    "torch.unique": "do it once outside the loop, or keep sorted data and compare neighbours",
    "torch.mode": "use shorter rows, or torch.bincount once outside the loop",
    "torch.nested.nested_tensor": "use layout=torch.jagged with offsets, or enable_nested_tensor=False in "
    "TransformerEncoder",
}

BY_OPERATION: Final[dict[str, str]] = {
    "torch.isin": "many values to look for are sorted, and unique waits: pass assume_unique=True if they are, or few of them",
    "torch.segment_reduce": "pass unsafe=True once the lengths are known to be right: it checks their least and their sum",
    "torch.linalg.matrix_exp": "it fetches norms once a call: one call for a batch of matrices",
    "torch.cholesky_inverse": "it looks for success: torch.linalg.inv_ex, or torch.cholesky_solve with the identity, does not",
}
"""Of operations that wait in themselves whatever the program does around them."""
NAMELESS: Final = frozenset({"C++", "backward"})
"""What the driver's call-back knows of an operation that it cannot name."""
ASSIGNED: Final = (
    "make what is assigned on the device (a number: masked_fill_, index_fill_); where a mask picks, keep the shape: torch.where"
)
SAMPLED: Final = "Normal's sample() checks its deviation on the host: rsample() under torch.no_grad() does not"
HIDDEN: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"\.sample\("), SAMPLED),
    (re.compile(r"\bone_hot\("), "pass num_classes: one_hot looks for the largest value otherwise"),
    (
        re.compile(r"[\w)\]]\["),
        "where a mask picks, keep the shape: torch.where(mask, x, 0); where an index stands on the host, keep it on the device",
    ),
)
"""Of a wait that only the driver saw: what is written in the line says what it may be."""
