"""Values read to be shown: f-strings, format, percent signs, str, logging, join."""
import logging
import sys

import torch

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
loss = torch.tensor(0.25)
epoch = torch.tensor(7)
print(f"{loss:.3f}")  # expect: read implicit=true
print("loss {:.1e} in epoch {}".format(loss, epoch))  # expect: read implicit=true
print("%.0f: %.2f" % (epoch, loss))  # expect: read implicit=true
text = str(loss)  # expect: read implicit=true
print(text, loss)  # expect: read implicit=true
logging.info("epoch %.0f loss %.2f", epoch, loss)  # expect: read implicit=true
logging.debug("never shown: %s", loss)
print(", ".join(f"{value:.0f}" for value in (loss * 4, loss * 8)))  # expect: read count=2
print(
    f"{epoch} is long: "
    f"{loss * 2:.2f} "  # expect: read
    f"{text}"
)
