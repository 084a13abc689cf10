"""
What does FineMixTrainer cost beside Trainer? The same model, data and steps with each, in turns.

    python examples/benchmark/overhead.py --output examples/benchmark/results/overhead.json

Real weights and sentences (see `hf_finemix.demo.material`). Writes every time as JSON and a table of medians as
Markdown; run it on an otherwise idle machine.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)

from hf_finemix import FineMixTrainer, FineMixTrainingArguments
from hf_finemix.data import tokenize
from hf_finemix.demo.material import minilm_folder, sentiment_sentences
from hf_finemix.results import environment


CLASSES = ("Trainer", "FineMixTrainer")
MAX_LENGTH = 64
WARM_UP_STEPS = 2


class StepClock(TrainerCallback):
    """Times each training step, and the loop as a whole."""

    def __init__(self):
        self.steps: list[float] = []

    def on_train_begin(self, args, state, control, **kwargs):
        self.begin = time.perf_counter()

    def on_step_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.steps.append(time.perf_counter() - self.start)

    def on_train_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.begin


def main() -> None:
    """Times both classes and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="defaults to overhead.md in the folder above OUTPUT's")
    options = parser.parse_args()

    material = load(options.steps * options.batch_size)
    runs = []
    for pair in range(-1, options.pairs):
        for name in CLASSES:
            # The first pair pays for what is loaded on first use, and does not count.
            steps = options.steps if pair >= 0 else min(options.steps, WARM_UP_STEPS)
            run = {"pair": pair, "class": name} | measure(name, *material, steps, options.batch_size)
            print(f"{name}: {1000 * statistics.median(run['step_seconds']):.1f} ms a step", flush=True)
            if pair >= 0:
                runs.append(run)

    settings = {"pairs": options.pairs, "steps": options.steps, "batch_size": options.batch_size}
    result = {
        "settings": settings | {"max_length": MAX_LENGTH, "model": "all-MiniLM-L6-v2"},
        "environment": environment() | {"threads": torch.get_num_threads(), "device": device_name()},
        "runs": runs,
    }
    table = options.table or options.output.parent.parent / "overhead.md"
    for path, text in ((options.output, json.dumps(result, indent=1) + "\n"), (table, render(result))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def load(count: int) -> tuple:
    """Returns a classifier with a fresh head, its tokenizer, and that many tokenised sentences."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(minilm_folder(), num_labels=2)
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    sentences = sentiment_sentences()
    return model, tokenizer, tokenize(sentences.select(range(count)), tokenizer, MAX_LENGTH)


def measure(name: str, model: PreTrainedModel, tokenizer, examples, steps: int, batch_size: int) -> dict:
    """Trains a copy of the model with one of the classes and returns the times."""
    clock, model = StepClock(), copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        args = FineMixTrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        more = {"train_dataset": examples, "processing_class": tokenizer, "callbacks": [clock]}
        start = time.perf_counter()
        if name == "FineMixTrainer":
            trainer = FineMixTrainer(model, args, pretrained=minilm_folder(), **more)
        else:
            trainer = Trainer(model, args, **more)
        construction = time.perf_counter() - start
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    times = {"construction_seconds": construction, "loop_seconds": clock.seconds, "step_seconds": clock.steps}
    return {
        key: [round(t, 5) for t in value] if isinstance(value, list) else round(value, 5)
        for key, value in times.items()
    }


def device_name() -> str:
    """Names the kind of device that the training ran on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def render(result: dict) -> str:
    """Makes the table of medians."""
    settings, versions = result["settings"], result["environment"]
    loops = {name: [run["loop_seconds"] for run in result["runs"] if run["class"] == name] for name in CLASSES}
    ratios = [fine_mix / plain for plain, fine_mix in zip(*loops.values(), strict=True)]
    lines = [
        "# Overhead of FineMixTrainer",
        "",
        f"{settings['model']}, {settings['steps']} steps of batch size {settings['batch_size']}, at most "
        f"{settings['max_length']} tokens; both classes in turns, {settings['pairs']} times. Medians.",
        "",
        "| | construction | one step | all steps |",
        "|---|---:|---:|---:|",
        *(row(name, [run for run in result["runs"] if run["class"] == name]) for name in CLASSES),
        "",
        f"FineMixTrainer's steps take {statistics.median(ratios):.3f} times Trainer's (median of the pairs; from "
        f"{min(ratios):.3f} to {max(ratios):.3f}). Its construction also loads the pretrained weights, mixes and "
        "resets embeddings, once.",
        "",
        f"transformers {versions['transformers']}, torch {versions['torch']}, {versions['device']}, "
        f"{versions['threads']} threads. Every time: [results/overhead.json](results/overhead.json).",
        "",
        "    python examples/benchmark/overhead.py --output examples/benchmark/results/overhead.json "
        f"--pairs {settings['pairs']} --steps {settings['steps']} --batch-size {settings['batch_size']}",
    ]
    return "\n".join(lines) + "\n"


def row(name: str, runs: list[dict]) -> str:
    """Makes one line of the table."""
    construction = statistics.median(run["construction_seconds"] for run in runs)
    step = statistics.median(seconds for run in runs for seconds in run["step_seconds"])
    loop = statistics.median(run["loop_seconds"] for run in runs)
    return f"| {name} | {construction:.2f} s | {1000 * step:.0f} ms | {loop:.2f} s |"


if __name__ == "__main__":
    main()
