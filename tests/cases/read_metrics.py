"""Metrics of the torchmetrics kind: a class that accumulates, a property, a callback, an early stop, a static method."""
import torch


class Accuracy:
    def __init__(self):
        self.right = torch.zeros((), dtype=torch.long)
        self.seen = 0

    def update(self, logits, labels):
        self.right += (logits.argmax(dim=1) == labels).sum()
        self.seen += labels.numel()

    @property
    def value(self):
        return self.right.item() / self.seen  # expect: read op=Tensor.item

    @staticmethod
    def confusion(logits, labels):
        return [
            [((logits.argmax(1) == i) & (labels == j)).sum().item() for j in range(2)]  # expect: read count=8
            for i in range(2)
        ]


class EarlyStop:
    best = torch.tensor(float("inf"))

    def __call__(self, loss):
        if loss < self.best:  # expect: read implicit=true
            self.best = loss
            return False
        return True


torch.manual_seed(0)
metric, stop = Accuracy(), EarlyStop()
for step in range(2):
    logits, labels = torch.randn(10, 2), torch.randint(0, 2, (10,))
    metric.update(logits, labels)
    matrix = metric.confusion(logits, labels)
    stopped = stop(torch.tensor(1.0 + step))
same = torch.equal(labels, labels.clone())
print(0 <= metric.value <= 1, sum(map(sum, matrix)), stopped, same)
