"""An installed library normalises in place what it was given, and hands it back as a tensor that shares it."""
import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np

folder = tempfile.TemporaryDirectory()
package = Path(folder.name) / "site-packages"
package.mkdir()
(package / "prep.py").write_text(
    """
import torch

def tensor_of(array):
    return torch.from_numpy(array)

def normalise(array):
    array -= array.min()
    array /= array.max()
    return array
"""
)
sys.path.insert(0, str(package))
prep = importlib.import_module("prep")
image = np.arange(100, 5000, dtype=np.float32)
pixels = prep.tensor_of(image)  # expect: alias
low = pixels.min().item()  # expect: read
prep.normalise(image)  # expect: mutation writer=numpy
print(low, pixels.min().item())  # expect: read
