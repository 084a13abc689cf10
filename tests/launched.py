"""
Run by test_distributed.py in a process of its own: starts processes that train together, and writes what they saw.

    python tests/launched.py FOLDER PROCESSES

A process that has computed anything must not be forked, hence not from within pytest.
"""

import hashlib
import json
import os
import sys
from pathlib import Path


os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from accelerate import debug_launcher
from transformers import BertForSequenceClassification, TrainerCallback, TrainingArguments

from hf_finemix import FineMixTrainer, InputError


class Losses(TrainerCallback):
    """Keeps the logged losses."""

    def __init__(self):
        self.values = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.values.append(logs["loss"])


def digest(model: torch.nn.Module) -> str:
    """Hashes all weights of a model."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def examples(count: int) -> list[dict]:
    """Returns labelled inputs of one length; a loss differs from one to the next."""
    return [{"input_ids": torch.arange(5, 13) + index, "labels": index % 2} for index in range(count)]


def arguments(folder: Path, **changed) -> TrainingArguments:
    """Returns plain arguments, with Trainer's defaults where they matter."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    settings = {
        "output_dir": str(folder / "out"),
        "use_cpu": True,
        "max_steps": 2,
        "per_device_train_batch_size": 4 // processes,
        "per_device_eval_batch_size": 4 // processes,
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "learning_rate": 0.1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    return TrainingArguments(**(settings | changed))


def suspect(folder: Path) -> BertForSequenceClassification:
    """Loads the suspect without dropout, so that runs on any number of processes can be compared."""
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForSequenceClassification.from_pretrained(folder / "suspect", **options)


def work(folder: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    counts, losses = [], Losses()

    def count(prediction) -> dict:
        counts.append(len(prediction.label_ids))
        return {}

    # Two trainers: on several processes, a `Trainer` that has evaluated trains each process's model by itself.
    judge = build(folder, compute_metrics=count)
    seen = {"processes": judge.args.world_size, "mixed": digest(judge.model)}
    seen["eval_loss"] = judge.evaluate(examples(8))["eval_loss"]
    judge.evaluate(examples(7))
    seen["examples"] = counts

    trainer = build(folder, train_dataset=examples(16), callbacks=[losses])
    trainer.train()
    seen["losses"] = losses.values
    seen["classifier"] = trainer.model.classifier.weight.tolist()
    seen["trained"] = digest(trainer.model)
    seen["fsdp"] = fsdp_refusal(folder) if trainer.args.world_size > 1 else None
    (folder / f"rank-{trainer.args.process_index}.json").write_text(json.dumps(seen))


def build(folder: Path, **kwargs) -> FineMixTrainer:
    """Makes a trainer for a fresh suspect."""
    return FineMixTrainer(suspect(folder), arguments(folder), pretrained=folder / "base", **kwargs)


def fsdp_refusal(folder: Path) -> str | None:
    """Asks for FSDP, which is not active under this launcher; returns the complaint if the model stayed as it was."""
    model = suspect(folder)
    before = digest(model)
    try:
        FineMixTrainer(model, arguments(folder, fsdp="full_shard"), pretrained=folder / "base")
    except InputError as error:
        return str(error) if digest(model) == before else "the model was changed"
    return None


if __name__ == "__main__":
    if sys.argv[2] == "1":
        work(Path(sys.argv[1]))
    else:
        debug_launcher(work, (Path(sys.argv[1]),), num_processes=int(sys.argv[2]))
