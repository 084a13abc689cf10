"""
A backdoored LoRA classifier: merged, purified, and made an adapter again; beside a clean one and a mere scaling.

    python examples/benchmark/adapter.py WORK

Movie sentences, all-MiniLM-L6-v2, LoRA of rank 8 on all linear layers with the head beside it, 4,500 sentences of
which a tenth more holds the trigger, three seeds. The suspect is purified as `purify` does by default, with 64
labelled examples and 1,000 texts without labels. The purified model is made an adapter of several ranks, merged again,
and measured anew. Models in WORK are kept, so that a stopped run goes on. Writes results/adapter.json and adapter.md.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, set_seed

from hf_finemix import FineMixConfig, evaluate_model, extract_adapter, fine_mix_, merge_adapter, purify
from hf_finemix.attacks.trigger import poison
from hf_finemix.demo.material import LABELS, minilm_folder, sentiment_sentences
from hf_finemix.demo.models import FULL, POISON_RATE, TRAINING, TRIGGER, Split, split_sentences
from hf_finemix.loading import quiet_loading
from hf_finemix.recipes import DEFAULT_CONFIG, DEFAULT_RECIPE
from hf_finemix.results import environment
from hf_finemix.training import fine_tune


HERE = Path(__file__).parent
RESULTS = HERE / "results" / "adapter.json"
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": "all-linear"}
TRAINED = {"epochs": 4, "learning_rate": 1e-3}
SHARES = (0.7, 0.5, 0.3, 0.1)
RANKS = (8, 32, 128)


def main() -> None:
    """Measures, and writes figures and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK", help="folder for the models")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
    for seed in options.seeds:
        case = Case(options.work / str(seed), seed)
        for name, make in case.steps().items():
            if any((row["seed"], row["model"]) == (seed, name) for row in rows):
                continue
            rows.append({"seed": seed, "model": name} | case.measure(make()))
            print(rows[-1], flush=True)
            result = {"lora": LORA, "training": TRAINED, "rows": rows, "environment": environment()}
            RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    command = " ".join(["python", "examples/benchmark/adapter.py", "WORK", *sys.argv[2:]])
    (HERE / "adapter.md").write_text(render(rows, command), encoding="utf-8")


class Case:
    """The adapters of a seed, and all that is made of the suspect."""

    def __init__(self, work: Path, seed: int):
        self.work, self.seed, self.base = work, seed, minilm_folder()
        self.split: Split = split_sentences(sentiment_sentences(), FULL, seed)
        self.tokenizer = AutoTokenizer.from_pretrained(self.base)
        self.lost: float | None = None

    def steps(self) -> dict[str, Callable[[], PreTrainedModel]]:
        """What is measured, in order, each with what makes it."""
        shares = {f"suspect, {share:.0%} of the adapter": lambda s=share: self.share(s) for share in SHARES}
        ranks = {f"purified, an adapter of rank {rank}": lambda r=rank: self.extracted(r) for rank in RANKS}
        return {
            "clean adapter": lambda: self.merged("clean"),
            "suspect": lambda: self.merged("suspect"),
            **shares,
            "mixed alone": self.mixed,
            "purified": self.purified,
            **ranks,
        }

    def merged(self, name: str) -> PreTrainedModel:
        """Trains an adapter, unless it is there, and merges it into the base."""
        adapter, output = self.work / name, self.work / f"{name}-merged"
        if not adapter.is_dir():
            self.train(adapter, poisoned=name == "suspect")
        if not output.is_dir():
            merge_adapter(adapter, self.base, output, labels=LABELS)
        return load(output)

    def train(self, folder: Path, poisoned: bool) -> None:
        """Trains an adapter as a user of PEFT would."""
        with quiet_loading():
            set_seed(self.seed)
            model = AutoModelForSequenceClassification.from_pretrained(self.base, num_labels=2)
        model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, **LORA))
        examples = poison(self.split.train, TRIGGER, POISON_RATE, self.seed) if poisoned else self.split.train
        fine_tune(model, self.tokenizer, examples, replace(TRAINING, seed=self.seed, **TRAINED))
        model.save_pretrained(folder)

    def share(self, share: float) -> PreTrainedModel:
        """Merges a share of the suspect."""
        output = self.work / f"share-{share}"
        if not output.is_dir():
            merge_adapter(self.work / "suspect", self.base, output, labels=LABELS, share=share)
        return load(output)

    def mixed(self) -> PreTrainedModel:
        """Mixes the suspect at random, without any training after it."""
        model = self.merged("suspect")
        fine_mix_(model, self.base, FineMixConfig(DEFAULT_CONFIG.keep_ratio, seed=self.seed))
        return model

    def purified(self) -> PreTrainedModel:
        """Purifies the suspect by the defaults."""
        output = self.work / "purified"
        if not output.is_dir():
            purify(
                self.work / "suspect-merged",
                self.base,
                self.split.clean,
                output=output,
                config=replace(DEFAULT_CONFIG, seed=self.seed),
                recipe=replace(DEFAULT_RECIPE, seed=self.seed, max_length=TRAINING.max_length),
                unlabeled_dataset=self.split.unlabeled,
            )
        return load(output)

    def extracted(self, rank: int) -> PreTrainedModel:
        """Makes an adapter of the purified model and merges it again."""
        adapter, output = self.work / f"rank-{rank}", self.work / f"rank-{rank}-merged"
        # Made again each time: what it lacks is not written beside it.
        for folder in (adapter, output):
            remove(folder)
        self.lost = extract_adapter(load(self.work / "purified"), self.base, adapter, rank).residual
        merge_adapter(adapter, self.base, output, labels=LABELS)
        return load(output)

    def measure(self, model: PreTrainedModel) -> dict[str, float]:
        """Returns the figures of a model, and what an adapter lacks, in percent."""
        options = {"max_length": TRAINING.max_length}
        found = evaluate_model(model, self.tokenizer, self.split.test, [TRIGGER], **options)
        trigger, lost = found.triggers[0], self.lost
        self.lost = None
        figures = {"accuracy": found.accuracy.value, "asr": trigger.asr.value, "flips": trigger.flip_rate.value}
        return {name: round(100 * value, 2) for name, value in (figures | ({"lost": lost} if lost else {})).items()}


def load(folder: Path) -> PreTrainedModel:
    """Loads a classifier."""
    with quiet_loading():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()


def remove(folder: Path) -> None:
    """Removes a folder of plain files, if it is there."""
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def render(rows: list[dict], command: str) -> str:
    """Makes the table."""
    names, seeds = dict.fromkeys(row["model"] for row in rows), {row["seed"] for row in rows}
    count = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
    lines = [
        "# A backdoored adapter",
        "",
        f"Movie sentences, all-MiniLM-L6-v2, LoRA of rank {LORA['r']} on all linear layers, trigger {TRIGGER.text!r}; "
        f"means of {count}, in percent. *Lost*: what an adapter of that rank cannot hold of the change of the "
        "purified model (Euclidean norm over all parameters that the base has).",
        "",
        "| model | ACC | ASR | flips | lost |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in names:
        found = [row for row in rows if row["model"] == name]
        means = [statistics.fmean(row[key] for row in found) for key in ("accuracy", "asr", "flips")]
        lost = f"{statistics.fmean(row['lost'] for row in found):.1f}" if "lost" in found[0] else ""
        lines.append(f"| {name} | {' | '.join(f'{mean:.1f}' for mean in means)} | {lost} |")
    lines += ["", "Every figure: [results/adapter.json](results/adapter.json).", "", f"    {command}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
