"""Values read to decide: while, assert, and/or/not, conditional expressions, any, all, max, sorted, in, match."""
import torch

limit = torch.tensor(3.0)
value = torch.tensor(0.0)
while value < limit:  # expect: read implicit=true
    value = value + 1
assert value == 3, "never said"  # expect: read implicit=true
both = (value > 1) and (value < 9)  # expect: read implicit=true
either = not (value > 5)  # expect: read implicit=true
name = "high" if value > 2 else "low"  # expect: read implicit=true
flags = [value > limit, value == limit]
print(any(flags), all(flags))  # expect: read implicit=true
largest = max(torch.tensor(1.0), torch.tensor(2.0), limit)  # expect: read implicit=true
ordered = sorted([limit, torch.tensor(1.0)], key=float)  # expect: read implicit=true
present = 2.0 in torch.arange(4.0)  # expect: read implicit=true
kept = [entry for entry in (value, -value) if entry > 0]  # expect: read implicit=true
match bool(value > 0):  # expect: read implicit=true
    case True:
        verdict = "positive"
    case _:
        verdict = "negative"
print(both.shape, either, name, largest.shape, len(ordered), present, len(kept), verdict)
