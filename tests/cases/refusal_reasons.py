"""Conversions that PyTorch refuses, each for its own reason; the program goes on with the remedy."""
import numpy as np
import torch

weight = torch.nn.Parameter(torch.ones(3))
attempts = []


def attempt(convert):
    try:
        attempts.append(convert())
    except (TypeError, ValueError, RuntimeError) as error:
        attempts.append(type(error).__name__)


attempt(lambda: np.asarray(weight))  # expect: refusal exception=RuntimeError
attempt(lambda: np.asarray(weight.detach()))  # expect: alias
attempt(lambda: torch.ones(2, dtype=torch.bfloat16).numpy())  # expect: refusal exception=TypeError
attempt(lambda: torch.from_numpy(np.arange(4)[::-1]))  # expect: refusal exception=ValueError
attempt(lambda: torch.from_numpy(np.arange(4)[::-1].copy()))  # maybe: alias
attempt(lambda: torch.ones(2, 2).sum(dim=0).item())  # expect: refusal exception=RuntimeError
attempt(lambda: float(torch.ones(3)))  # expect: refusal exception=ValueError
attempt(lambda: torch.from_numpy(np.array(["text"])))  # expect: refusal exception=TypeError
attempt(lambda: "yes" if torch.ones(2) else "no")  # expect: refusal exception=RuntimeError
print([entry if isinstance(entry, str) else entry.shape for entry in attempts])
