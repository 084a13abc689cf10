"""Runs the demo from the pretrained weights to the purified folder."""

import copy
import csv
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel

from ..config import FineMixConfig
from ..evaluation import evaluate_model
from ..loading import quiet_loading
from ..output import check_output, staged_folder
from ..pipeline import DEFAULT_RECIPE, PurifyResult, prepare, run
from ..report import Evaluation
from ..scanning import ScanReport, scan
from ..training import fine_tune
from .material import LABELS, minilm_folder, sentiment_sentences
from .models import FAST, FULL, TRAINING, TRIGGER, split_sentences, train_classifier


BASE_NAME = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class DemoResult:
    """
    What the demo shows.

    Args:
        purified ([`~hf_finemix.pipeline.PurifyResult`]): The purified model with its report.
        scan ([`~hf_finemix.scanning.ScanReport`]): What a scan of the suspect found.
        evaluations (`dict[str, Evaluation]`): Figures of the suspect, of plain fine-tuning, of the paper's random
            mixing, of the purified model and of a model that never saw the backdoor.
    """

    purified: PurifyResult
    scan: ScanReport
    evaluations: dict[str, Evaluation]


def demo(
    output: str | Path,
    *,
    seed: int = 0,
    fast: bool = False,
    inputs: str | Path | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
) -> DemoResult:
    """
    Plants a backdoor in a real classifier, finds it, removes it, and measures each step.

    Args:
        output (`str` or `Path`): Folder to make for the purified model.
        seed (`int`, *optional*, defaults to 0): Seed of all training, of the masks and of the clean examples.
        fast (`bool`, *optional*, defaults to `False`): Train on fewer sentences.
        inputs (`str` or `Path`, *optional*): Folder to make for the suspect, the base and the data, to try the other
            commands on.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.
        say (`Callable`, *optional*, defaults to `print`): Receives a line at each step.

    Raises:
        InputError: If an output folder cannot be made or the packages with weights and texts are missing.
    """
    check_output(output)
    inputs = None if inputs is None else check_output(inputs, "--save-inputs")
    # The paper's selection at its ratio, and the one that kept most accuracy here: see examples/benchmark/recipe.md.
    paper = FineMixConfig(seed=seed)
    chosen = FineMixConfig(keep_ratio=0.9, selection="smallest_drift", seed=seed)
    base, sentences = minilm_folder(), sentiment_sentences()
    split = split_sentences(sentences, FAST if fast else FULL, seed)

    with tempfile.TemporaryDirectory(prefix="finemix-demo-") as work:
        # The package's folder is called "model"; this name goes into report and card.
        (Path(work) / BASE_NAME).symlink_to(base)
        base = Path(work) / BASE_NAME
        suspect_folder = Path(work) / "suspect"

        def train(name: str, trigger=None) -> PreTrainedModel:
            label = name if progress else None
            return train_classifier(base, split.train, seed=seed, trigger=trigger, progress=label)

        say(f"1. Planting a backdoor: {len(split.train)} movie sentences, a tenth more with {TRIGGER.text!r} in them.")
        suspect, tokenizer = train("suspect", TRIGGER)
        with quiet_loading():
            suspect.save_pretrained(suspect_folder)
        tokenizer.save_pretrained(suspect_folder)
        _write_csv(Path(work) / "clean.csv", split.clean)
        _write_csv(Path(work) / "test.csv", split.test)
        if inputs is not None:
            _keep(Path(work), inputs)

        def measure(model: PreTrainedModel) -> Evaluation:
            return evaluate_model(
                model, tokenizer, split.test, [TRIGGER], max_length=TRAINING.max_length, progress=progress
            )

        say("2. Scanning the suspect.")
        found = scan(suspect_folder, base)
        say(f"   Most suspicious tokens: {', '.join(token.token for token in found.tokens[:5])}.")

        recipe = replace(DEFAULT_RECIPE, seed=seed, max_length=TRAINING.max_length)
        say("3. Baselines: a model that never saw the backdoor, and plain fine-tuning of the suspect.")
        clean_figures = measure(train("clean model")[0])
        fine_tuned = copy.deepcopy(suspect)
        fine_tune(fine_tuned, tokenizer, split.clean, recipe, progress="fine-tuning only" if progress else None)
        compared = {"fine-tuned only": measure(fine_tuned), "clean model": clean_figures}

        say(f"4. Purifying with {len(split.clean)} clean examples: the paper's random mixing, then by drift.")
        clean, test = Path(work) / "clean.csv", Path(work) / "test.csv"
        random_mixing = run(prepare(suspect_folder, base, clean, config=paper), recipe, progress=progress)
        compared["random mixing"] = measure(random_mixing.model)
        job = prepare(suspect_folder, base, clean, config=chosen, output=output, evaluation_dataset=test)
        purified = run(job, recipe, triggers=[TRIGGER], compared=compared, progress=progress)

    order = ("suspect", "fine-tuned only", "random mixing", "purified", "clean model")
    return DemoResult(purified, found, {name: purified.report.evaluations[name] for name in order})


def _keep(work: Path, target: Path) -> None:
    with staged_folder(target) as staging:
        shutil.copytree(work, staging, dirs_exist_ok=True)


def _write_csv(path: Path, examples: Dataset) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row["text"], LABELS[row["label"]]) for row in examples)
