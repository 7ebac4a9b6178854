"""An evaluation loop with every kind of hidden wait, and the quiet way beside it."""
# run: --simulate cuda
import torch

torch.manual_seed(0)
model = torch.nn.Linear(8, 3).to("cuda").eval()  # expect: transfer direction=h2d
right = torch.zeros((), device="cuda")
worst, seen = 0.0, []
with torch.no_grad():
    for number in range(3):
        inputs = torch.randn(4, 8, device="cuda")
        labels = torch.randint(0, 3, (4,), device="cuda")
        logits = model(inputs)
        right += (logits.argmax(1) == labels).sum()
        loss = torch.nn.functional.cross_entropy(logits, labels)
        worst = max(worst, float(loss))  # expect: sync implicit=true count=3
        seen.extend(logits.argmax(1).tolist())  # expect: sync implicit=false count=3
        probabilities = logits.softmax(1).cpu().numpy()  # expect: transfer direction=d2h count=3 ; alias
        if number == 2 and loss.isnan():  # expect: sync implicit=true count=1
            break
message = f"accuracy {right / 12:.2f}"  # expect: sync implicit=true
shown = str(loss)  # expect: sync implicit=true
total = right.item()  # expect: sync implicit=false
late = right.cpu().item()  # expect: transfer direction=d2h ; read
print(len(message), len(shown), 0 <= total <= 12, total == late, len(seen), probabilities.shape, worst > 0)
