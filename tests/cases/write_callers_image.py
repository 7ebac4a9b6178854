"""predict() scales the picture it was shown; the caller's picture is black from then on."""
import numpy as np
import torch


class Classifier:
    def __init__(self):
        self.net = torch.nn.Linear(64, 3)

    @torch.no_grad()
    def predict(self, image):
        pixels = torch.as_tensor(image).reshape(1, -1)  # expect: alias count=2
        pixels /= 255.0  # expect: mutation writer=torch
        return int(self.net(pixels).argmax())  # expect: read


torch.manual_seed(0)
image = np.full((8, 8), 200.0, dtype=np.float32)
classifier = Classifier()
first = classifier.predict(image)
second = classifier.predict(image)
print(image[0, 0] < 1.0, first in (0, 1, 2), second in (0, 1, 2))
