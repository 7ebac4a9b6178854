"""What a device tensor refuses, and how the host's memory is shared once it is there."""
# run: --simulate cuda
import numpy as np
import torch

scores = torch.linspace(0, 1, 50, device="cuda")


def attempt(convert):
    try:
        convert()
    except (TypeError, RuntimeError, ValueError) as error:
        return type(error).__name__
    return "done"


told = [
    attempt(lambda: np.asarray(scores)),  # expect: refusal exception=TypeError
    attempt(lambda: scores.numpy()),  # expect: refusal exception=TypeError
    attempt(lambda: scores.item()),  # expect: refusal exception=RuntimeError
]
fetched = scores.numpy(force=True)  # expect: transfer direction=d2h
host = scores.to("cpu")  # expect: transfer direction=d2h
array = host.numpy()  # expect: alias direction=tensor->array
array[4] = 7.0  # expect: mutation writer=numpy
print(told, host[4].item(), fetched.shape)  # expect: read
