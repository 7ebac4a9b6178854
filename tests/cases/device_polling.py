"""Timing with events, polling instead of waiting."""
# run: --simulate cuda
import time
import torch

start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
x = torch.ones(64, 64, device="cuda")
start.record()
y = x @ x
end.record()
end.synchronize()  # expect: sync implicit=false
took = start.elapsed_time(end)
host = torch.empty(64, pin_memory=True)
host.copy_(y[0], non_blocking=True)  # expect: transfer direction=d2h blocking=false
done = torch.cuda.Event()
done.record()
while not done.query():
    time.sleep(0.001)
first = host[0].item()  # expect: read
side = torch.cuda.Stream()
with torch.cuda.stream(side):
    host.copy_(y[1], non_blocking=True)  # expect: transfer direction=d2h blocking=false
while not side.query():
    time.sleep(0.001)
second = host.tolist()  # expect: read
print(took >= 0, first, len(second))
