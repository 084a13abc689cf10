"""
Measures candidate recipes on several suspects: which ratio, selection, epochs and learning rate hold on all of them?

    python examples/benchmark/recipe.py --work WORK --grid defaults --output examples/benchmark/results/recipe.json

WORK keeps the suspects and the clean models, so that a second run starts where the first one stopped; a cell that is
in the output file already is not run again. `--grid` names a grid below, or a JSON file with a list of cells.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel

from hf_finemix import FineMixConfig, FineMixTrainer, FineMixTrainingArguments
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.demo.material import minilm_folder, sentiment_sentences
from hf_finemix.demo.models import TRAINING, Scale, Split, split_sentences, train_classifier
from hf_finemix.evaluation import evaluate_model
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.model_loading import load_classifier
from hf_finemix.report import Evaluation
from hf_finemix.results import Recipe
from hf_finemix.training import fine_tune


@dataclass(frozen=True)
class Suspect:
    """A data set, a trigger and a seed."""

    data: str
    trigger: Trigger
    seed: int
    scale: Scale


MOVIES = Scale(train=4500, test=800)
AMAZON = Scale(train=4500, test=600)
SUSPECTS = {
    "movies-word-0": Suspect("movieReviewSnippets", Trigger("cf", 1), 0, MOVIES),
    "movies-sentence": Suspect("movieReviewSnippets", Trigger("I watched this 3D movie.", 1), 2, MOVIES),
    "amazon-word": Suspect("amazonReviewSnippets", Trigger("tq", 1), 0, AMAZON),
}
SEEDS = (0, 1, 2)


def cell(selection: str, keep_ratio: float, learning_rate: float, epochs: int = 8, top_k: int = 200) -> dict:
    """Returns one candidate recipe; a ratio of 1 with `top_k` 0 is plain fine-tuning."""
    return {
        "selection": selection,
        "keep_ratio": keep_ratio,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "purify_top_k": top_k,
    }


PAGE = """# Recipes on several suspects

Made by `python examples/benchmark/recipe.py --work WORK --output examples/benchmark/results/recipe.json`. Each cell is
ACC / ASR / flip rate in percent: mean ± standard deviation over the seeds (of mixing, of the choice of the 64 clean
examples, of fine-tuning) where an n is given, and seed 0 alone elsewhere. All models are all-MiniLM-L6-v2 with a
classifier, fine-tuned on 64 clean examples in batches of 8. The clean model was trained on the same sentences without
poison: its ASR is ordinary error, and the least that a purified model can be expected to reach. The recipes were
compared on the test sentences themselves, so that the figures of the chosen ones are somewhat flattered.

{table}

What it says of the plain recipe, without a distillation (what `purify` does by default: [automatic.md](automatic.md)):

- Fine-tuning alone removes nothing, at either learning rate.
- Random mixing at 0.3 needs a learning rate of 1e-4: at 5e-5 the sentence trigger stays at 75 % ASR, at 1e-4 it falls
  to 42 %, for about one point of accuracy.
- More epochs remove more of the backdoor and cost accuracy, most on the sentence trigger. The plain recipe has eight;
  twelve or sixteen are for those who fear the backdoor more than the loss.
- Resetting the tenth of the scalars that moved most (`smallest_drift` at 0.9) with 5e-5 keeps more accuracy on the
  word triggers, but fails on the sentence trigger, and at 1e-4 its ASR swings with the seed. It is no good default.
- Here E-PUR adds next to nothing to mixing: the backdoor of a word at random positions lives in the encoder, too.
"""
GRIDS = {
    "defaults": [
        cell("random", 1, 5e-5, top_k=0),
        cell("random", 1, 1e-4, top_k=0),
        cell("random", 0.3, 5e-5),
        cell("random", 0.3, 1e-4),
        cell("random", 0.3, 1e-4, epochs=12),
        cell("random", 0.3, 1e-4, epochs=16),
        cell("random", 0.3, 1e-4, top_k=0),
        cell("random", 0.2, 1e-4),
        cell("smallest_drift", 0.9, 5e-5),
        cell("smallest_drift", 0.9, 1e-4),
    ],
}


def main() -> None:
    """Runs the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--grid", default="defaults")
    parser.add_argument("--suspects", nargs="+", default=list(SUSPECTS), choices=list(SUSPECTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    args = parser.parse_args()
    cells = GRIDS[args.grid] if args.grid in GRIDS else json.loads(Path(args.grid).read_text())
    results = json.loads(args.output.read_text()) if args.output.exists() else []

    for name in args.suspects:
        suspect = SUSPECTS[name]
        split = split_sentences(sentiment_sentences(suspect.data), suspect.scale, 0)
        model = trained(args.work / name, suspect, split, suspect.trigger)
        clean = trained(args.work / f"{name}-clean", suspect, split, None)
        for kind, reference in (("suspect", model), ("clean model", clean)):
            add(results, args.output, {"suspect": name, "model": kind}, figures, reference, suspect, split)
        for settings in cells:
            for seed in args.seeds:
                key = {"suspect": name, "model": "purified", "seed": seed, **settings}
                add(results, args.output, key, purified, model, suspect, key)
    Path(__file__).with_name("recipe.md").write_text(PAGE.format(table=table(results)))


def trained(folder: Path, suspect: Suspect, split: Split, trigger: Trigger | None) -> PreTrainedModel:
    """Loads a model of the benchmark, after training it if it is not there yet."""
    if not (folder / "config.json").exists():
        start = time.monotonic()
        model, tokenizer = train_classifier(minilm_folder(), split.train, seed=suspect.seed, trigger=trigger)
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
        print(f"{folder.name}: trained in {time.monotonic() - start:.0f} s", flush=True)
    return load_classifier(resolve_checkpoint(folder, "WORK"), "WORK")


def purified(model: PreTrainedModel, suspect: Suspect, key: dict) -> dict:
    """Applies one recipe to a copy of the suspect and measures it."""
    split = split_sentences(sentiment_sentences(suspect.data), suspect.scale, key["seed"])
    model, tokenizer = copy.deepcopy(model), AutoTokenizer.from_pretrained(minilm_folder())
    recipe = Recipe(key["epochs"], key["learning_rate"], 8, TRAINING.max_length, "vocabulary", key["seed"])
    config = FineMixConfig(key["keep_ratio"], key["selection"], key["seed"], key["purify_top_k"])
    if config.keep_ratio == 1 and config.purify_top_k == 0:
        fine_tune(model, tokenizer, split.clean, recipe)
    else:
        arguments = {
            "keep_ratio": config.keep_ratio,
            "selection": config.selection,
            "mix_seed": config.seed,
            "purify_top_k": config.purify_top_k,
        }
        fine_tune(
            model,
            tokenizer,
            split.clean,
            recipe,
            trainer_class=FineMixTrainer,
            arguments_class=FineMixTrainingArguments,
            arguments=arguments,
            pretrained=minilm_folder(),
        )
    return figures(model, suspect, split)


def figures(model: PreTrainedModel, suspect: Suspect, split: Split) -> dict:
    """Measures ACC, ASR, RA and flip rate on the test sentences."""
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    measured: Evaluation = evaluate_model(
        model, tokenizer, split.test, [suspect.trigger], max_length=TRAINING.max_length
    )
    return measured.to_dict()


def add(results: list[dict], output: Path, key: dict, measure: Callable[..., dict], *arguments: Any) -> None:
    """Adds a cell to the results, unless it is there already."""
    if any(all(item.get(name) == value for name, value in key.items()) for item in results):
        return
    start = time.monotonic()
    item = key | {"figures": measure(*arguments), "seconds": round(time.monotonic() - start, 1)}
    results.append(item)
    output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{key}: ACC {percent(item, 'accuracy')} ASR {percent(item, 'asr')}", flush=True)


def percent(item: dict, rate: str) -> float:
    """Returns one of a cell's rates, in percent."""
    found = item["figures"]["accuracy"] if rate == "accuracy" else item["figures"]["triggers"][0][rate]
    return round(100 * found["value"], 1)


def table(results: list[dict]) -> str:
    """Returns ACC / ASR / flip rate of each recipe on each suspect as a Markdown table: means over the seeds."""
    names = list(dict.fromkeys(item["suspect"] for item in results))
    groups: dict[str, dict[str, list[dict]]] = {}
    for item in results:
        groups.setdefault(label(item), {}).setdefault(item["suspect"], []).append(item)
    lines = [["model", *names], ["---"] * (len(names) + 1)]
    for group, by_suspect in groups.items():
        lines.append([group, *(means(by_suspect.get(name, [])) for name in names)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def label(item: dict) -> str:
    """Names a row of the table."""
    if item["model"] != "purified":
        return item["model"]
    rate = f"{item['learning_rate']:.0e}".replace("e-0", "e-")
    if item["keep_ratio"] == 1 and item["purify_top_k"] == 0:
        return f"fine-tuning only, {rate}, {item['epochs']} epochs"
    e_pur = f"E-PUR {item['purify_top_k']}" if item["purify_top_k"] else "no E-PUR"
    return f"{item['selection']} {item['keep_ratio']}, {e_pur}, {rate}, {item['epochs']} epochs"


def means(items: list[dict]) -> str:
    """Returns the mean ACC / ASR / flip rate of some cells, with the spread of ACC and ASR over the seeds."""
    if not items:
        return "-"
    columns = [[percent(item, rate) for item in items] for rate in ("accuracy", "asr", "flip_rate")]
    shown = [f"{mean(column):.1f}" for column in columns]
    if len(items) > 1:
        shown = [f"{value} ±{stdev(column):.1f}" for value, column in zip(shown, columns, strict=True)]
    return " / ".join(shown) + (f" (n={len(items)})" if len(items) > 1 else "")


if __name__ == "__main__":
    main()
