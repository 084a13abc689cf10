"""
Memory of mixing and of training, measured against the formula that the sizing page reckons with.

    python examples/benchmark/sizing.py WORK

BERT models of several sizes with random weights (memory does not ask what they hold), each mixed and trained for two
steps by FineMixTrainer in a process of its own, on the CPU, with inputs of eight tokens. Writes results/sizing.json
and sizing.md.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

from hf_finemix.results import environment


HERE = Path(__file__).parent
RESULTS = HERE / "results" / "sizing.json"
# Hidden size and layers.
SIZES = {"mini": (384, 6), "base": (768, 12), "large": (1024, 24)}
# Bytes a parameter: model and pretrained twin; then weights, gradients and the two moments of AdamW.
MIXING, TRAINING = 4 + 4, 4 + 4 + 8


def main() -> None:
    """Measures each size in a process of its own, and writes figures and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK", help="folder for the models")
    parser.add_argument("--one", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.work, options.one)))
        return
    rows = []
    for name in SIZES:
        command = [sys.executable, __file__, str(options.work), "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    RESULTS.write_text(json.dumps({"rows": rows, "environment": environment()}, indent=1) + "\n", encoding="utf-8")
    (HERE / "sizing.md").write_text(render(rows), encoding="utf-8")


def peak() -> float:
    """Returns the most memory that this process had so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(work: Path, name: str) -> dict[str, float | str | int]:
    """Mixes and trains a model of one size."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from hf_finemix import FineMixTrainer, FineMixTrainingArguments

    hidden, layers = SIZES[name]
    config = BertConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=hidden // 64, intermediate_size=4 * hidden
    )
    if not (work / name).is_dir():
        # Another process makes them, whose memory is its own.
        script = "import sys; from transformers import *; c = BertConfig.from_dict(eval(sys.argv[2])); "
        script += "BertForSequenceClassification(c).save_pretrained(sys.argv[1] + '/suspect'); "
        script += "BertModel(c).save_pretrained(sys.argv[1] + '/base')"
        subprocess.run([sys.executable, "-c", script, str(work / name), repr(config.to_dict())], check=True)
    before = peak()
    model = BertForSequenceClassification.from_pretrained(work / name / "suspect")
    args = FineMixTrainingArguments(
        str(work / "run"),
        max_steps=2,
        per_device_train_batch_size=1,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
    )
    examples = [{"input_ids": torch.arange(8), "labels": row % 2} for row in range(4)]
    trainer = FineMixTrainer(model, args, pretrained=work / name / "base", train_dataset=examples)
    mixed = peak()
    trainer.train()
    found = {"mixing": mixed - before, "training": peak() - before}
    return {"model": name, "parameters": sum(p.numel() for p in model.parameters()), **found}


def render(rows: list[dict]) -> str:
    """Makes the tables."""
    lines = [
        "# Memory, reckoned and measured",
        "",
        f"Above what the imports take, in GB: the formula has {MIXING} bytes a parameter for mixing (model and twin "
        f"in float32) and {TRAINING} for training (weights, gradients, AdamW's moments).",
        "",
        "| model | parameters | mixing, formula | measured | training, formula | measured |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        size = row["parameters"]
        cells = [MIXING * size / 1e9, row["mixing"], TRAINING * size / 1e9, row["training"]]
        lines.append(f"| BERT-{row['model']} | {size / 1e6:.0f} M | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    lines += ["", "Every figure: [results/sizing.json](results/sizing.json).", ""]
    lines += ["    python examples/benchmark/sizing.py WORK"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
