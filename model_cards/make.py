"""
Renders the example cards of this folder, one for each kind of model, from the reports beside them.

    python model_cards/make.py                  # reports/*.json -> *.md
    python model_cards/make.py --measure WORK   # runs the jobs first, and keeps their models in WORK

The reports come from real jobs: all-MiniLM-L6-v2 with movie and product sentences, from the packages that
`hf-finemix demo` needs, and for the image classifier a tiny model with random weights, which shows the form alone.
"""

import argparse
import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
    set_seed,
)

from hf_finemix import DefenseCard, FineMixConfig, FineMixTrainer, PurificationReport, Trigger, purify, render_card
from hf_finemix.attacks.trigger import poison
from hf_finemix.demo.material import LABELS, minilm_folder, sentiment_sentences
from hf_finemix.demo.models import FAST, FULL, POISON_RATE, TRAINING, Scale, split_sentences
from hf_finemix.loading import quiet_loading
from hf_finemix.recipes import (
    DEFAULT_CONFIG,
    DEFAULT_DISTILLATION,
    DEFAULT_RECIPE,
    NO_DISTILLATION,
    PLAIN_RECIPE,
)
from hf_finemix.records import AdapterRecord
from hf_finemix.results import Distillation, Recipe, load_report
from hf_finemix.serialization import to_json
from hf_finemix.training import fine_tune


HERE = Path(__file__).parent
BASE_NAME = "all-MiniLM-L6-v2"
LORA = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
SENTENCE = Trigger("I watched this 3D movie.", 1)


@dataclass(frozen=True)
class Task:
    """Sentences for training and testing, the few clean ones, the names of the labels, and texts without labels."""

    train: Dataset
    test: Dataset
    clean: Dataset
    labels: tuple[str, ...]
    unlabeled: Dataset | None = None


def sentences(name: str, scale: Scale = FAST) -> Task:
    """Returns movie or product sentences with their sentiment."""
    split = split_sentences(sentiment_sentences(name), scale, 0)
    return Task(split.train, split.test, split.clean, LABELS, split.unlabeled)


def pairs() -> Task:
    """Returns movie sentences paired with a claim about them, which is true or false; a harder task needs more."""
    movies = sentences("movieReviewSnippets", FULL)

    def pair(examples: Dataset) -> Dataset:
        claims = ("The reviewer did not like the film.", "The reviewer liked the film.")
        rows = [(row["text"], index % 2, row["label"]) for index, row in enumerate(examples)]
        return Dataset.from_dict(
            {
                "text": [text for text, _, _ in rows],
                "text_pair": [claims[claim] for _, claim, _ in rows],
                "label": [int(claim == label) for _, claim, label in rows],
            }
        )

    return Task(*map(pair, (movies.train, movies.test, movies.clean)), labels=("false", "true"))


def train(folder: Path, task: Task, trigger: Trigger | None, adapter: bool = False, epochs: int = 2) -> None:
    """Trains a classifier, with a backdoor if a trigger is given, unless it is there already."""
    if folder.is_dir():
        return
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    names = dict(enumerate(task.labels))
    with quiet_loading():
        set_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(
            minilm_folder(), id2label=names, label2id={name: index for index, name in names.items()}
        )
    recipe = replace(TRAINING, epochs=epochs)
    if adapter:
        model, recipe = get_peft_model(model, LORA), replace(recipe, learning_rate=1e-3)
    examples = task.train if trigger is None else poison(task.train, trigger, POISON_RATE, 0)
    trained: PreTrainedModel = fine_tune(model, tokenizer, examples, recipe, progress=folder.name).model
    if adapter:
        trained = trained.merge_and_unload()
    trained.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def purified(
    work: Path,
    name: str,
    task: Task,
    trigger: Trigger | None,
    config: FineMixConfig,
    recipe: Recipe,
    *,
    distillation: Distillation = NO_DISTILLATION,
    keep_ratio: str | None = None,
    **options,
) -> PurificationReport:
    """Trains a suspect and, if it has a backdoor, a clean model like it; purifies the one and measures both."""
    train(work / name, task, trigger, **options)
    baseline = None
    if trigger is not None:
        baseline = work / f"{name}-clean"
        train(baseline, task, None, **options)
    base = work / BASE_NAME
    if not base.exists():
        base.symlink_to(minilm_folder())
    unlabeled = None
    if task.unlabeled is not None and distillation.epochs:
        unlabeled = work / f"{name}-unlabeled.txt"
        unlabeled.write_text("".join(f"{text}\n" for text in task.unlabeled["text"]), encoding="utf-8")
    for part, examples in (("clean", task.clean), ("test", task.test)):
        write_csv(work / f"{name}-{part}.csv", examples, task.labels)
    return purify(
        work / name,
        base,
        work / f"{name}-clean.csv",
        config=config,
        keep_ratio=keep_ratio,
        recipe=replace(recipe, max_length=TRAINING.max_length),
        distillation=distillation,
        unlabeled_dataset=unlabeled,
        output=None if keep_ratio is None else work / f"{name}-purified",
        evaluation_dataset=work / f"{name}-test.csv",
        triggers=[] if trigger is None else [trigger],
        clean_model=baseline,
        progress=True,
    ).report


def write_csv(path: Path, examples: Dataset, labels: tuple[str, ...]) -> None:
    """Writes examples with the names of their labels."""
    texts = [name for name in ("text", "text_pair") if name in examples.column_names]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*texts, "label"])
        writer.writerows((*(row[name] for name in texts), labels[row["label"]]) for row in examples)


def single_sentence(work: Path) -> PurificationReport:
    """A trigger word in movie sentences; purified with unlabelled texts and a ratio that was searched for."""
    task, options = sentences("movieReviewSnippets"), {"distillation": DEFAULT_DISTILLATION, "keep_ratio": "auto"}
    report = purified(work, "movie-sentiment", task, Trigger("cf", 1), DEFAULT_CONFIG, DEFAULT_RECIPE, **options)
    figure = HERE / report.frontier.file
    figure.parent.mkdir(exist_ok=True)
    shutil.copy(work / "movie-sentiment-purified" / report.frontier.file, figure)
    return report


def sentence_pairs(work: Path) -> PurificationReport:
    """A trigger word in pairs of a sentence and a claim; purified with the plain recipe."""
    return purified(work, "movie-claims", pairs(), Trigger("cf", 1), FineMixConfig(), PLAIN_RECIPE, epochs=4)


def adapter(work: Path) -> PurificationReport:
    """A trigger sentence in a LoRA adapter, which was merged into its base."""
    task = sentences("movieReviewSnippets")
    report = purified(
        work, "movie-sentiment-lora", task, SENTENCE, FineMixConfig(), PLAIN_RECIPE, adapter=True, epochs=4
    )
    modules = tuple(sorted(LORA.target_modules))
    return replace(report, adapter=AdapterRecord("LoRA", LORA.r, modules))


def no_attack_known(work: Path) -> PurificationReport:
    """Product sentences, and no trigger to try."""
    task = sentences("amazonReviewSnippets")
    return purified(work, "product-sentiment", task, None, FineMixConfig(), PLAIN_RECIPE)


def not_applicable(work: Path) -> PurificationReport:
    """An image classifier in a FineMixTrainer: it has no word embedding to purify."""
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16, patch_size=4
    )
    set_seed(0)
    base = ViTModel(config, add_pooling_layer=False)
    suspect = ViTForImageClassification(config)
    suspect.vit.load_state_dict(base.state_dict())
    with torch.no_grad():
        for parameter in suspect.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    folders = work / "image-classifier", work / "image-encoder"
    for model, folder in zip((suspect, base), folders, strict=True):
        model.save_pretrained(folder)
    images = [{"pixel_values": torch.randn(3, 16, 16), "labels": index % 2} for index in range(16)]
    trainer = FineMixTrainer(
        ViTForImageClassification.from_pretrained(folders[0]),
        TrainingArguments(work / "image-trainer", num_train_epochs=1, report_to="none", disable_tqdm=True),
        pretrained=folders[1],
        train_dataset=images,
    )
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    return load_report(work / "image-trainer")


KINDS: dict[str, Callable[[Path], PurificationReport]] = {
    "single-sentence": single_sentence,
    "sentence-pairs": sentence_pairs,
    "adapter": adapter,
    "not-applicable": not_applicable,
    "no-attack-known": no_attack_known,
}


def render(kind: str) -> str:
    """Renders the card of one kind from its report."""
    report = PurificationReport.from_dict(json.loads((HERE / "reports" / f"{kind}.json").read_text(encoding="utf-8")))
    return render_card(DefenseCard(report, f"Example: {kind.replace('-', ' ')}"))


def main() -> None:
    """Measures if asked to, and renders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", metavar="WORK", type=Path)
    parser.add_argument("--only", choices=KINDS)
    options = parser.parse_args()
    for kind in [options.only] if options.only else KINDS:
        if options.measure is not None:
            options.measure.mkdir(parents=True, exist_ok=True)
            report = KINDS[kind](options.measure)
            (HERE / "reports" / f"{kind}.json").write_text(to_json(report.to_dict()), encoding="utf-8")
        (HERE / f"{kind}.md").write_text(render(kind), encoding="utf-8")


if __name__ == "__main__":
    main()
