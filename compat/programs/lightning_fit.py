"""Lightning: fit, validate, checkpoint and test of a small classifier on scikit-learn's digits."""

from __future__ import annotations

import logging
import tempfile
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from outcome import told, told_state, training
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore", message=".*does not have many workers.*")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Digits(lightning.LightningModule):
    """A classifier as Lightning's first page has it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
        self.seen: list[torch.Tensor] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.layers(x), y)
        self.log("train_loss", loss, prog_bar=True)
        self.seen.append(loss.detach())
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        x, y = batch
        out = self.layers(x)
        self.log("val_loss", nn.functional.cross_entropy(out, y), prog_bar=True)
        self.log("val_accuracy", (out.argmax(1) == y).float().mean())

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.002)


def main() -> None:
    lightning.seed_everything(3, verbose=False)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.from_numpy(digits.target))
    train, valid = torch.utils.data.random_split(data, [1500, 297])
    model = Digits()
    with tempfile.TemporaryDirectory() as folder, training():
        trainer = lightning.Trainer(
            max_epochs=30,
            accelerator="cpu",
            logger=CSVLogger(folder),
            callbacks=[EarlyStopping("val_loss", patience=30), ModelCheckpoint(folder, monitor="val_loss")],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True), DataLoader(valid, batch_size=64))
        (found,) = trainer.test(model, DataLoader(valid, batch_size=64), ckpt_path="best", verbose=False, weights_only=True)
    told("loss", [loss.item() for loss in model.seen])
    told("test", found.values())
    told_state(model)


if __name__ == "__main__":
    main()
