"""
Tries variants of the recipe on two suspects of the bench, and the recipe on unlabelled texts that hold the trigger.

    hf-finemix bench examples/benchmark/automatic.yaml --output WORK --workers 2
    python examples/benchmark/variants.py WORK

Each variant changes one thing of the defaults of `purify`: movie sentences, MiniLM, seed 0, 64 labelled examples and
1,000 texts without labels. Results that are there already are kept, so that a stopped run goes on. Writes
results/variants.json and variants.md.

On 500 test examples, two models that disagree on a tenth of them differ by 1.4 points by chance alone (one standard
error): smaller differences of accuracy say little.

What lost, as of the figures below: fine-tuning as long and fast as the paper does (accuracy of the word suspect); no
spliced texts and no random words in them where there are labels alone; no trigger search where texts hold the trigger.
A ratio of 0.3, the smallest drift, attention at one half and whole heads leave more of the sentence. What made no
difference beyond chance: temperature, features, layers, interpolation, averages of masks or passes, and E-PUR
beside the distillation. The simplest of these stay: a random mask, temperature 1, no averages.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from variant_mixes import by_group, by_heads, by_interpolation, by_layer, by_several_masks

from hf_finemix import Distillation, FineMixConfig, evaluate_model
from hf_finemix.distillation import (
    Lessons,
    distil,
    make_examples,
    prepare_lessons,
    soft_cross_entropy,
)
from hf_finemix.evaluation import evaluation_mode
from hf_finemix.laboratory.bench_config import read_bench_config
from hf_finemix.laboratory.specs import SuspectSpec
from hf_finemix.laboratory.workshop import Workshop
from hf_finemix.modeling import fine_mix_, purify_embeddings_
from hf_finemix.recipes import DEFAULT_CONFIG, DEFAULT_DISTILLATION, DEFAULT_RECIPE
from hf_finemix.results import Recipe
from hf_finemix.training import LossTrainer, fine_tune, train
from hf_finemix.trigger_finding import find_triggers
from hf_finemix.twin import Twin


HERE = Path(__file__).parent
RESULTS = HERE / "results" / "variants.json"
ATTACKS = ("word", "sentence")
POISONED_SHARE = 0.01


class Case:
    """A suspect with what its defender has."""

    def __init__(self, workshop: Workshop, spec: SuspectSpec):
        splits, clean = workshop.splits(spec.clean.task), spec.clean
        self.suspect, self.tokenizer = workshop.suspect(spec), workshop.tokenizer(clean.model)
        self.twin, self.scores = workshop.twin(self.suspect, clean.model), workshop.scores(spec, "vocabulary")
        self.clean, self.test = splits.clean(64, clean.seed), splits.test
        self.unlabeled = splits.unlabeled(1000, 64, clean.seed)
        self.triggers, self.max_length = spec.make_attack().triggers, clean.task.max_length
        self.recipe = replace(DEFAULT_RECIPE, seed=clean.seed, max_length=self.max_length)

    def lessons(self, settings: Distillation, unlabeled: Dataset) -> Lessons:
        """Asks the suspect, as `purify` does."""
        data = Dataset.from_dict({"text": [*self.clean["text"], *unlabeled["text"]]})
        options = {"max_length": self.max_length, "seed": self.recipe.seed}
        found = ()
        if settings.candidates:
            found = find_triggers(self.suspect, self.tokenizer, data, self.scores, settings, **options)
        return prepare_lessons(self.suspect, self.tokenizer, data, found, settings, **options)


def run(
    case: Case,
    *,
    settings: Distillation = DEFAULT_DISTILLATION,
    config: FineMixConfig = DEFAULT_CONFIG,
    unlabeled: Dataset | None = None,
    mix: Callable[[torch.nn.Module, Twin, FineMixConfig], None] | None = None,
    averaged: bool = False,
    features: bool = False,
    **labels: float,
) -> dict[str, float]:
    """Purifies a copy of the suspect by one variant and measures it."""
    start, model = time.monotonic(), copy.deepcopy(case.suspect)
    lessons = case.lessons(settings, case.unlabeled if unlabeled is None else unlabeled)
    if mix is None:
        fine_mix_(model, case.twin, config)
    else:
        mix(model, case.twin, config)
    purify_embeddings_(model, case.twin, config, case.scores)
    states = []
    for part in range(settings.epochs if averaged else not features):
        each = replace(settings, epochs=1) if averaged else settings
        distil(model, case.tokenizer, lessons, each, seed=case.recipe.seed + part)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    if averaged:
        model.load_state_dict({name: sum(state[name] for state in states[-2:]) / 2 for name in states[0]})
    if features:
        distil_features(model, case, lessons, settings)
    if labels.get("epochs") != 0:
        fine_tune(model, case.tokenizer, case.clean, replace(case.recipe, **labels))
    found = evaluate_model(model, case.tokenizer, case.test, case.triggers, max_length=case.max_length)
    rates = {"acc": found.accuracy, "asr": found.worst.asr, "flips": found.worst.flip_rate}
    figures = {name: round(100 * rate.value, 1) for name, rate in rates.items()}
    return figures | {"left_out": lessons.left_out, "seconds": round(time.monotonic() - start)}


def distil_features(model: torch.nn.Module, case: Case, lessons: Lessons, settings: Distillation) -> None:
    """Teaches the last hidden state of the first token beside the answers, as TinyBERT does with all states."""
    found = []
    with evaluation_mode(case.suspect), torch.inference_mode():
        for ids in lessons.inputs["input_ids"]:
            hidden = case.suspect.base_model(input_ids=torch.tensor([ids])).last_hidden_state
            found.append(hidden[0, 0].numpy())
    both = np.concatenate([lessons.answers, np.stack(found)], axis=1)
    answers, labels = soft_cross_entropy(settings.temperature), lessons.answers.shape[1]

    def loss(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        wanted = inputs.pop("labels")
        output = model(**inputs, output_hidden_states=True)
        near = torch.nn.functional.mse_loss(output.hidden_states[-1][:, 0], wanted[:, labels:])
        return answers(lambda **_: output, {"labels": wanted[:, :labels]}) + near

    options = {"max_length": 1, "frequencies": "none", "seed": case.recipe.seed, "warmup": 0.06}
    recipe = Recipe(1, settings.learning_rate, settings.batch_size, group_by_length=True, **options)
    examples = make_examples(replace(lessons, answers=both), settings, case.tokenizer, case.recipe.seed)
    train(model, case.tokenizer, examples, recipe, trainer_class=LossTrainer, loss=loss)


def poisoned(case: Case) -> Dataset:
    """Puts the trigger into a hundredth of the unlabelled texts."""
    texts = list(case.unlabeled["text"])
    for row in np.random.default_rng(0).choice(len(texts), round(POISONED_SHARE * len(texts)), replace=False):
        texts[row] = case.triggers[0].insert(texts[row], int(row))
    return Dataset.from_dict({"text": texts})


def change(**settings: float) -> Distillation:
    """Returns the distillation with something changed."""
    return replace(DEFAULT_DISTILLATION, **settings)


def labels_alone(case: Case, **settings: float) -> dict[str, float]:
    """Leaves the texts without labels out."""
    return run(case, settings=change(**settings), unlabeled=case.unlabeled.select([]))


def keep(ratio: float, selection: str = "random") -> FineMixConfig:
    """Returns the mixing with another reserve ratio."""
    return replace(DEFAULT_CONFIG, keep_ratio=ratio, selection=selection)


VARIANTS: dict[str, Callable[[Case], dict[str, float]]] = {
    "defaults": lambda case: run(case),
    "keep ratio 0.05": lambda case: run(case, config=keep(0.05)),
    "keep ratio 0.3": lambda case: run(case, config=keep(0.3)),
    "keep ratio 0.5": lambda case: run(case, config=keep(0.5)),
    "no random words in the spliced texts": lambda case: run(case, settings=change(replaced=0.0)),
    "no spliced texts": lambda case: run(case, settings=change(texts=0)),
    "labels alone": labels_alone,
    "labels alone, no random words": lambda case: labels_alone(case, replaced=0.0),
    "labels alone, no spliced texts": lambda case: labels_alone(case, texts=0),
    "trigger in 1 % of the unlabelled texts": lambda case: run(case, unlabeled=poisoned(case)),
    "the same, no trigger search": lambda case: run(case, unlabeled=poisoned(case), settings=change(candidates=0)),
    "no trigger search": lambda case: run(case, settings=change(candidates=0)),
    "no E-PUR": lambda case: run(case, config=replace(DEFAULT_CONFIG, purify_top_k=0)),
    "smallest drift, 0.9": lambda case: run(case, config=keep(0.9, "smallest_drift")),
    "temperature 2": lambda case: run(case, settings=change(temperature=2.0)),
    "features, too": lambda case: run(case, features=True),
    "early layers keep more": lambda case: run(case, mix=by_layer),
    "attention keeps half": lambda case: run(case, mix=by_group),
    "whole heads reset": lambda case: run(case, mix=by_heads),
    "interpolation instead of a mask": lambda case: run(case, mix=by_interpolation),
    "three masks averaged": lambda case: run(case, mix=by_several_masks),
    "last two passes averaged": lambda case: run(case, averaged=True),
    "no labels": lambda case: run(case, epochs=0),
    "labels: 8 passes at 1e-4": lambda case: run(case, epochs=8, learning_rate=1e-4),
}


def main() -> None:
    """Runs what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--attacks", nargs="*", choices=ATTACKS, default=ATTACKS)
    options = parser.parse_args()
    workshop = Workshop(options.work)
    specs = {
        cell.suspect.label: cell.suspect
        for cell in read_bench_config(HERE / "automatic.yaml").cells()
        if (cell.suspect.clean.task.name, cell.suspect.clean.model.name, cell.suspect.clean.seed)
        == ("movies", "minilm", 0)
    }
    for name in options.only:
        for attack in options.attacks:
            if attack not in load().get(name, {}):
                figures = VARIANTS[name](Case(workshop, specs[attack]))
                print(name, attack, figures, flush=True)
                # Read once more: another process may measure another attack.
                found = load()
                found.setdefault(name, {})[attack] = figures
                RESULTS.write_text(json.dumps({key: found[key] for key in VARIANTS if key in found}, indent=2) + "\n")
    write(load())


def load() -> dict[str, dict[str, dict[str, float]]]:
    """Reads the figures that are there."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def write(found: dict[str, dict[str, dict[str, float]]]) -> None:
    """Writes the page."""
    lines = ["# Variants of the recipe", "", *__doc__.strip().splitlines()[2:], ""]
    lines += ["ACC / ASR / flip rate in percent.", "", "| variant | word | sentence |", "| --- | --- | --- |"]
    for name, attacks in found.items():
        cells = [
            " / ".join(str(attacks[attack][key]) for key in ("acc", "asr", "flips")) if attack in attacks else ""
            for attack in ATTACKS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    (HERE / "variants.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
