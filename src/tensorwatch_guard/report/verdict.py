"""The verdict: what matters most in a report, why, and what to do; or the one line of a clean run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..places import interval, place, when
from ..rules import BY_ID
from ..words import SEVERITIES, SIMULATED, Finding
from .model import waits_of
from .story import FOUND_GONE, SHARED, Story, order_of, stories, surely
from .wording import WRITER_WORDS, number, plural, rate, seconds, sentence, times

if TYPE_CHECKING:
    from .model import Report


EVERYTHING: Final = "everything: "
"""How the blind spot begins of a guard that was switched off."""
_BROKEN: Final = "TWG805"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``also`` is the other half: waits where memory comes first, further stories otherwise."""

    finding: Finding
    what: str
    why: str
    do: str
    also: str = ""


def verdict(report: Report) -> Verdict | None:
    """What to tell first; None for a clean run. Wrong results come before lost time."""
    told = [story for story in stories(report) if story.severity != "note"]
    slow = costly(report)
    waits = waiting(report)
    if told:
        first = told[0]
        others = f"{plural(len(told) - 1, 'more finding')} about shared memory" if len(told) > 1 else ""
        also = "; ".join(part for part in (others, waits if slow else "") if part)
        return _verdict(first.head, _memory(first), also and sentence(also), first.do)
    if slow:
        top = slow[0]
        also = f"{plural(len(slow) - 1, 'more place')} below" if len(slow) > 1 else ""
        most = "longest" if weight(top)[1] else "most often"
        return _verdict(top, f"{waits}; {most} at {place(top.site)}", also and sentence(also), order_of(top))
    return None


def _verdict(finding: Finding, what: str, also: str, do: str) -> Verdict:
    rule = BY_ID.get(finding.rule)
    return Verdict(finding, sentence(what), rule.why if rule else "", sentence(do), also)


def costly(report: Report) -> list[Finding]:
    """Waits and copies that are warnings, the one that blocked longest (then: happened most often) first."""
    open_ones = [
        finding
        for finding in report.findings
        if finding.kind in {"sync", "transfer"} and finding.allowed is None and finding.severity != "note"
    ]
    return sorted(open_ones, key=weight, reverse=True)


def weight(finding: Finding) -> tuple[int, float, int, int]:
    """How much a finding matters beside others of its kind; larger is more."""
    ends = (str(finding.details.get(name, "")) for name in ("device", "src", "dst"))
    blocked = 0.0 if any(SIMULATED in end for end in ends) else round(finding.blocked_s, 4)  # its times are the host's
    return SEVERITIES.index(finding.severity), blocked, finding.count, finding.bytes


def waiting(report: Report) -> str:
    """``the host waits 3.00 times a step, blocked up to 1.84 s``."""
    open_ones = [finding for finding in report.findings if finding.allowed is None]
    waits = sum(map(waits_of, open_ones))
    blocked = sum(finding.blocked_s for finding in open_ones if waits_of(finding))
    if not waits:
        copies = sum(f.count for f in open_ones if f.kind == "transfer" and f.severity != "note")
        return f"{plural(copies, 'copy', 'copies')} between devices"
    often = f"{rate(waits / report.run.steps)} times a step" if report.run.steps else times(waits)
    return f"the host waits {often}" + (f", blocked for up to {seconds(blocked)}" if blocked else "")


_WHAT: Final = {
    "followed-state": "the state_dict of {began} is used at {site}, but holds other weights by then: {write} changed them",
    "stale-gradient": "the gradients are wrong ({times}): {write} overwrote values that backward at {site} "
    "still needed",
    "dangling-alias": "memory shared since {began} is taken away at {site}: to touch it can end the process",
    "found-gone": "memory shared since {began} was found gone {found}: to touch it can end the process",
    "async-copy": "memory of a copy that is still in flight is used at {site}: the values are a mixture",
}


def _memory(story: Story) -> str:
    head = story.head
    began = next((scene.site for scene in story.scenes if scene.heading == SHARED), None)
    where_began = place(began) if began else "an earlier line"
    if head.kind == "hazard":
        told = head.details.get("told")
        what = "found-gone" if told in FOUND_GONE else str(head.details.get("type"))
        text = _WHAT.get(what, "shared memory is used in an unsafe way at {site}")
        found = f"{FOUND_GONE.get(str(told), 'at')} {place(head.site)}"
        return text.format(
            site=place(head.site), began=where_began, write=_write(story), times=surely(head), found=found
        )
    writer = WRITER_WORDS.get(str(head.details.get("writer")), "somebody")
    ends = interval(head)
    moment = f"{when(ends)}," if ends else f"at {place(head.site)}"
    told = f"{writer} wrote, {moment} into memory shared since {where_began}".replace("wrote, at", "wrote at")
    return f"{told}{_other_writers(story)}{_consequence(story)}"


def _other_writers(story: Story) -> str:
    """The commonest line of each other writer: PyTorch's step is what was meant, NumPy's line beside it perhaps was not."""
    lines = [one for one in story.findings if one.kind == "mutation" and interval(one) is None and one.site is not None]
    others: dict[str, Finding] = {}
    for one in lines:
        others.setdefault(str(one.details.get("writer")), one)
    others.pop(str(story.head.details.get("writer")), None)
    named = {WRITER_WORDS[writer]: place(one.site) for writer, one in others.items() if writer in WRITER_WORDS}
    return "".join(f"; {writer} writes it, too, at {at}" for writer, at in named.items())


def _consequence(story: Story) -> str:
    """What a write alone has done or may have done, as far as it is known."""
    kept = int(story.head.details.get("kept", 0) or 0)
    shows = f"; {number(kept)} arrays or tensors that were kept are this one memory: all show the last values" if kept else ""
    stale = next((f for f in story.findings if f.details.get("type") == "stale-gradient"), None)
    if stale is None:
        return shows
    return f"{shows}; backward at {place(stale.site)} may have used the new values: then its gradients are wrong"


def _write(story: Story) -> str:
    told = {finding.id: finding for finding in story.findings if finding.kind == "mutation"}
    own = [told[other.id] for other in story.head.related if other.role == "written-by" and other.id in told]
    mutation = next((one for one in own if interval(one) is None), next(iter(own or told.values()), None))
    if mutation is None:
        scene = next((scene for scene in story.scenes if scene.heading.startswith("written")), None)
        return place(scene.site) if scene else "a later write"
    ends = interval(mutation)
    return f"a write {when(ends)}" if ends else place(mutation.site)


def clean_line(report: Report) -> str:
    """``nothing to mend (312 steps, 0 waits a step, 14 shared arrays, no write seen)``."""
    switched_off = next((spot for spot in report.blind_spots if spot.startswith(EVERYTHING)), None)
    if switched_off is not None:
        return f"nothing was watched: {switched_off.removeprefix(EVERYTHING)}"
    steps, waits = report.run.steps, int(report.totals.get("blocking", 0))
    parts = [plural(steps, "step")] if steps else []
    parts.append(f"{rate(waits / steps) if waits else '0'} waits a step" if steps else plural(waits, "wait"))
    parts.append(_shared(report))
    notes = sum(1 for finding in report.findings if is_plain_note(finding))
    if notes:
        parts.append(plural(notes, "note"))
    severed = next((f for f in report.findings if f.kind == "alias" and f.details.get("severed") and f.allowed is None), None)
    if severed is not None:
        parts.append(f"what {place(severed.site)} handed out no longer follows")
    allowed = int(report.totals.get("allowed", 0))
    if allowed:
        parts.append(f"{number(allowed)} allowed")
    aborted = "; the run ended with an exception" if report.run.aborted else ""
    aborted += "; written while it ran" if report.run.extra.get("unfinished") else ""
    state = broken_levels(report) or ("nothing to mend" if report.clean else "nothing to mend in what was seen")
    return f"{state} ({', '.join(parts)}{aborted})"


def broken_levels(report: Report) -> str:
    """``1 level or limit broken``; empty where none was."""
    broken = sum(1 for notice in report.notices if notice.rule == _BROKEN)
    return f"{plural(broken, 'level or limit', 'levels or limits')} broken" if broken else ""


def is_plain_note(finding: Finding) -> bool:
    """A note that is worth a line of its own: no host read, no sharing that nobody wrote through, not allowed."""
    quiet = finding.kind == "read" or (finding.kind == "alias" and not finding.details.get("severed"))
    return finding.severity == "note" and not quiet and finding.allowed is None


def _shared(report: Report) -> str:
    shared = sum(finding.count for finding in report.findings if finding.kind == "alias")
    if not shared:
        return "no shared arrays"
    return f"{plural(shared, 'shared array')}{untouched(report)}"


def untouched(report: Report) -> str:
    """What may be said of shared memory of which no write was found: nothing, where nobody looked."""
    if any(finding.kind == "mutation" for finding in report.findings):
        return ""
    return ", writes were not looked for" if report.run.writes == "off" else ", no write seen"
