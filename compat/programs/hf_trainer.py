"""transformers: Trainer fits a tiny BERT with random weights, evaluates and saves; nothing comes from the hub."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from outcome import told, told_state, training
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)


class Sentences(Dataset):
    """Random words; the class is whether the first is in the upper half of the vocabulary."""

    def __init__(self, count: int) -> None:
        words = np.random.default_rng(5)
        self.words = words.integers(2, 200, (count, 24))

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = torch.from_numpy(self.words[index])
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": (words[0] > 100).long()}


def accuracy(found: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    return {"accuracy": float((found[0].argmax(-1) == found[1]).mean())}


def main() -> None:
    set_seed(4)
    config = BertConfig(
        vocab_size=200,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    model = BertForSequenceClassification(config)
    with tempfile.TemporaryDirectory() as folder, training():
        arguments = TrainingArguments(
            folder,
            num_train_epochs=3,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            learning_rate=1e-3,
            logging_steps=5,
            eval_strategy="epoch",
            save_strategy="epoch",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            log_level="error",
        )
        trainer = Trainer(model, arguments, train_dataset=Sentences(800), eval_dataset=Sentences(200), compute_metrics=accuracy)
        trainer.remove_callback(PrinterCallback)  # it prints how long things took
        trainer.train()
    told("loss", [entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    told("gradient", [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry])
    told("evaluation", [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry])
    told_state(model)


if __name__ == "__main__":
    main()
