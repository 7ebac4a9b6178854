"""The tensor behind a prediction is gone when the array is worked on: nobody else can see these writes."""
import numpy as np
import torch

torch.manual_seed(0)
model = torch.nn.Linear(8, 3)


def predict(batch):
    with torch.no_grad():
        return model(torch.tensor(batch)).numpy()  # maybe: alias


def softmax(scores):
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


for _ in range(3):
    scores = predict(np.ones((200, 8), dtype=np.float32))
    probabilities = softmax(scores)
print(probabilities.sum(axis=1).round(3)[0])
