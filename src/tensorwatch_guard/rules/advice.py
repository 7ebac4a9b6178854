"""From a rule and a finding to one short order that names what stands in the user's line.

A rule's own remedy is general; here it is made concrete where the source text allows: the very tensor, the call.
"""

from __future__ import annotations

import linecache
import re
from typing import TYPE_CHECKING, Final

from .orders import ASSIGNED, BY_OPERATION, CALLS_THAT_READ, HIDDEN, NAMELESS, SAMPLED, SIZES

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..words import Finding, Related, Site
    from .model import Rule

_LONGEST_NAME: Final = 28
_LONGEST_CALL: Final = 60
_MOST_COPIES: Final = 3
_READ: Final = re.compile(
    r"^(?P<name>.+?)\.(?:item|tolist)\(\)$|^(?:float|int|bool|complex)\((?P<inner>.+)\)$", re.DOTALL
)
_MOVE: Final = re.compile(r"^(?P<name>.+?)\.(?:to|cuda|xpu)\(", re.DOTALL)
_HOST_MADE: Final = re.compile(
    r"^torch\.(?P<make>randn|rand|randint|zeros|ones|full|empty|arange|eye|linspace)\(", re.DOTALL
)
_CONSTANT: Final = re.compile(
    r"^torch\.(?:as_tensor|tensor|asarray)\(\s*(?=[\[(\d.-])(?:[\[\]()\d\s.,eE+*-]|True|False)+"
    r"(?:$|(?:device|dtype|requires_grad|pin_memory)\s*=)"
)
"""Numbers and nothing else: with a name among them they may be new each time."""
_IN_LOADER: Final = re.compile(r"(?:__getitem__|__getitems__|collate\w*)$")
"""Functions that a DataLoader calls: what they hand out may be pinned afterwards, and must be on the host for that."""
_STATE: Final = re.compile(r"[\w.\[\]]+\.state_dict\(\)")
_IN_PLACE: Final = re.compile(r"^([\w.\[\]]+)\s*([-+*/@|&^%]|//|\*\*|<<|>>)=\s")
_ONE: Final = re.compile(r"[\w.]+(?:\([^()]*\)|\[[^\[\]]*\]|\.\w+)*")
"""What needs no brackets before a method is called on it."""
_REDUCED: Final = re.compile(r"\.(?:sum|mean|max|min|norm|detach)\(\)$")

def _short(text: str | None) -> str | None:
    """The text as a name to speak of, or None where it is too long or spans a call's many arguments."""
    if text is None or len(text) > _LONGEST_NAME or "\n" in text:
        return None
    return text.strip() or None


def _line(site: Site | None) -> str:
    """The whole source line; the finding's own text where the file cannot be read."""
    if site is None:
        return ""
    return linecache.getline(site.file, site.line).strip() or (site.source or "")


def _source(finding: Finding) -> str:
    return _text(finding.site)


def _text(site: Site | None) -> str:
    return (site.source or "").strip() if site else ""


def _by_call(finding: Finding) -> str | None:
    """What to do about a call that is known to read inside."""
    source = _source(finding)
    return next((order for pattern, order in CALLS_THAT_READ if pattern.search(source)), None)


def _truth(rule: Rule, finding: Finding) -> str:
    return _by_call(finding) or rule.remedy


def _scalar(rule: Rule, finding: Finding) -> str:
    source = _source(finding)
    order = _by_call(finding)
    if order is not None:
        return order
    match = _READ.match(source)
    name = _short(match["name"] or match["inner"]) if match else None
    if source.endswith(".tolist()"):
        return f"keep {name or 'the tensor'} on the device and fetch it once, at the end of the epoch"
    if name is None:
        return rule.remedy
    name = _bare(name)
    kept = name if _REDUCED.search(name) else f"{name}.detach()" if _ONE.fullmatch(name) else f"({name}).detach()"
    return f"keep {kept} and read it every N steps; several reads: one torch.stack([...]).tolist()"


def _bare(name: str) -> str:
    """Without brackets around the whole of it."""
    inner = name[1:-1]
    return inner if name.startswith("(") and name.endswith(")") and _is_whole(inner) else name


def _is_whole(text: str) -> bool:
    """Whether each bracket in it has its other one in it."""
    depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0


def _move(rule: Rule, finding: Finding) -> str:
    source = _source(finding)
    if finding.site is not None and _IN_LOADER.search(finding.site.function):
        return "leave samples on the host and move whole batches, in the loop: pinned, with non_blocking=True"
    made = _HOST_MADE.match(source)
    if made:
        return f"make it on the device: torch.{made['make']}(..., device=device)"
    if finding.details.get("pattern") == "constant":
        return "the same values each time: copy them once, before the loop, or register them as a buffer of the module"
    if _CONSTANT.match(source):
        return "make it once, before the loop, or fill it there: torch.full, arange(..., device=device)"
    match = _MOVE.match(source)
    name = _short(match["name"]) if match else None
    pinned = finding.details.get("pinned")
    if name is None or pinned:
        return "the source is pinned already: pass non_blocking=True" if pinned else rule.remedy
    if "(" in name:  # new each time: pinning it would cost as much
        return "fill a pinned buffer and pass non_blocking=True (two in turn, with an event each), or make it on the device"
    return f"pin {name} (DataLoader(pin_memory=True)) and pass non_blocking=True, or make it on the device"


def _stuck(rule: Rule, finding: Finding) -> str:
    waited = finding.details.get("blocking_calls")
    if waited:
        return f"it waited in {waited:,} of {finding.count:,} calls: pin what comes from the host in those, and keep it dense"
    if finding.details.get("pinned"):
        return "pinned, but not dense or changing its dtype: call .contiguous(), convert on the device"
    return rule.remedy


def _sized(rule: Rule, finding: Finding) -> str:
    node = finding.details.get("backward")  # of which the line of ``backward()`` says nothing
    if node:
        return f"{node}: where the forward pass indexed, keep the shape there, torch.where(mask, x, 0)"
    return SIZES.get(finding.op, rule.remedy)


def copy_of(site: Site | None, origin: Site | None = None) -> str:
    """How to copy where memory is shared: the user's expression with the copy added; general words where it is long.

    ``origin``: the library line that shared it in the course of the user's.
    """
    if origin is not None:
        return "what goes into that call or comes out of it, with .copy() or .clone()"
    line, source = _line(site), _text(site)
    state = _STATE.search(line)
    to_array = ".numpy(" in source or source.startswith("np.")
    if state and "load_state_dict" not in line and not to_array:
        return f"copy.deepcopy({state[0]})"
    if "assign=True" in source:
        return "load_state_dict(..., assign=False)"
    method = ".copy()" if to_array else ".clone()"
    if not source:
        return "add .copy() to the array, or .clone() to the tensor, there"
    whole = site is not None and site.column is not None and source.endswith(")") and "\n" not in source
    return source + method if whole and len(source) <= _LONGEST_CALL else f"add {method} there"


def shared_at(finding: Finding) -> Related | None:
    """Where the sharing behind a finding began, if it is known."""
    return next((other for other in finding.related if other.role == "shared-by"), None)


_REFILLED: Final = (
    "a buffer, filled again on purpose? Then say so here (# tensorwatch: allow[mutation] refilled), and keep a .clone() of "
    "what is to last"
)


_REFILLED_TOO_SOON: Final = (
    "a buffer, filled again on purpose? Then see that backward is through with it before it is written, or give the forward "
    "pass a copy: .clone()"
)


def written_in_place(finding: Finding) -> re.Match[str] | None:
    """Name and sign where a finding is at ``sample -= sample.mean()``: who computes with the old values fills no buffer."""
    return _IN_PLACE.match(_source(finding))


def _mutation(rule: Rule, finding: Finding) -> str:
    began = shared_at(finding)
    if began is None or began.site is None:
        return rule.remedy
    if finding.details.get("refilled"):
        return _REFILLED_TOO_SOON if finding.details.get("perhaps_used") else _REFILLED
    order = copy_of(began.site, began.origin)
    in_place = written_in_place(finding)
    writer = finding.details.get("writer")
    if in_place and _short(in_place[1]) and (writer == "torch" or began.origin is None):
        name, sign = in_place.groups()
        return f"copy where it is shared: {order}; or do not write in place: {name} = {name} {sign} ..."
    if ".numpy(" not in _text(began.site) or began.origin is not None:
        return f"copy where it is shared: {order}"
    meant = "the array is meant to follow the tensor" if writer == "torch" else "the tensor is meant to be changed by it"
    return f"copy where it is shared: {order}, unless {meant}: then allow it"


def _hazard(rule: Rule, finding: Finding) -> str:
    began = shared_at(finding)
    if finding.details.get("type") != "stale-gradient" or began is None or began.site is None:
        return rule.remedy
    shared = [other for other in finding.related if other.role == "shared-by" and other.site]
    # handed out once and copied there, a tensor would never see what the buffer is filled with
    once = finding.details.get("handed_out", 1) < 2 and all(_text(one.site).startswith("torch.") for one in shared)
    if finding.details.get("refilled") or once:
        return "write only after backward, or give the forward pass a copy: .clone()"
    copies = dict.fromkeys(copy_of(other.site, other.origin) for other in shared)
    return f"write only after backward, or copy where it is shared: {', and '.join(list(copies)[:_MOST_COPIES])}"


def _refusal(rule: Rule, finding: Finding) -> str:
    source = _source(finding)
    receiver = _short(source[: -len(".numpy()")]) if source.endswith(".numpy()") else None
    if receiver is None:
        return rule.remedy
    if rule.id == "TWG601":
        return f"copy it to the host first: {receiver}.cpu().numpy(), with .detach() before it where it needs a gradient"
    if rule.id == "TWG602":
        return f"detach it first: {receiver}.detach().numpy() shares memory, add .copy() to keep values"
    return rule.remedy


def _inside(_rule: Rule, finding: Finding) -> str:
    if finding.op in BY_OPERATION:
        return BY_OPERATION[finding.op]
    source = _source(finding)
    named = [name for name in finding.via if name not in NAMELESS]
    if named:
        known = ".sample(" in source and named[-1].startswith("torch.distributions.")
        return SAMPLED if known else f"it waits in {named[-1]}: look for a variant that is given its sizes by the host"
    assigned = re.search(re.escape(source) + r"\s*=(?!=)", _line(finding.site)) if source.endswith("]") else None
    order = ASSIGNED if assigned else next((order for pattern, order in HIDDEN if pattern.search(source)), None)
    if order is None and "backward" in finding.via:
        order = (
            "the backward of x[mask] waits: keep the shape in the forward pass, torch.where(mask, x, 0); of x[index] with the "
            "index on the host: keep that on the device"
        )
    return f"{order or 'a variant that is given its sizes by the host does not wait'}; ops=True (--ops) says which it is"


def _built(rule: Rule, finding: Finding) -> str:
    if finding.details.get("pattern") == "constant" or _CONSTANT.match(_source(finding)):
        return rule.remedy
    return "the same values each time: once, outside the loop; new ones: many in one copy, pinned and non_blocking=True"


def _operand(rule: Rule, finding: Finding) -> str:
    if finding.details.get("backward"):
        return "an index of the forward pass stands on the host: keep it on the device"
    if finding.op != "Tensor.__setitem__":
        return rule.remedy
    return (
        "what is assigned stands on the host: make it on the device, or collect there and copy once; a number: masked_fill_ or "
        "index_fill_"
    )


def _number(rule: Rule, finding: Finding) -> str:
    return SAMPLED if ".sample(" in _source(finding) else rule.remedy


def _both_ways(finding: Finding) -> str:
    """What to do about a line that copies in more than one direction."""
    parts = [f"{count:,} {_WAYS.get(way, way)}" for way, count in finding.directions.items()]
    order = "find out who sends it there and back: keep it on one side in between, or move it late and together"
    return f"one line, both ways ({', '.join(parts)}): {order}"


_WAYS: Final[dict[str, str]] = {"h2d": "to the device", "d2h": "to the host", "d2d": "between devices"}


_BY_RULE: Final[dict[str, Callable[[Rule, Finding], str]]] = {
    "TWG101": _move,
    "TWG105": _built,
    "TWG106": _stuck,
    "TWG107": _operand,
    "TWG201": _scalar,
    "TWG202": _truth,
    "TWG204": _number,
    "TWG206": _sized,
    "TWG207": _sized,
    "TWG211": _inside,
    "TWG401": _mutation,
    "TWG402": _mutation,
    "TWG403": _mutation,
    "TWG501": _hazard,
    "TWG502": _hazard,
    "TWG601": _refusal,
    "TWG602": _refusal,
}


def advice(rule: Rule, finding: Finding) -> str:
    """What to do about this very finding, in one line; the rule's remedy where the source says no more."""
    if len(finding.directions) > 1 and finding.severity != "note":
        return _both_ways(finding)
    concrete = _BY_RULE.get(rule.id)
    return concrete(rule, finding) if concrete else rule.remedy
