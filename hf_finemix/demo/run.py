"""Runs the demo from the pretrained weights to the purified folder."""

import copy
import csv
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..attacks.trigger import Trigger
from ..errors import InputError
from ..evaluation import evaluate_model
from ..job import prepare
from ..loading import quiet_loading
from ..output import check_output, staged_folder
from ..pipeline import PurifyResult, run
from ..recipes import DEFAULT_CONFIG, DEFAULT_RECIPE, PLAIN_RECIPE
from ..report import Evaluation
from ..results import Recipe
from ..scanning import ScanReport, scan
from ..training import fine_tune
from .material import LABELS, minilm_folder, sentiment_sentences
from .models import FAST, FULL, TRAINING, TRIGGER, Split, split_sentences, train_classifier


BASE_NAME = "all-MiniLM-L6-v2"
ALONE = "purified, labels alone"


@dataclass(frozen=True)
class DemoResult:
    """
    What the demo shows.

    Args:
        purified ([`~hf_finemix.pipeline.PurifyResult`]): The purified model with its report.
        scan ([`~hf_finemix.scanning.ScanReport`]): What a scan of the suspect found.
        evaluations (`dict[str, Evaluation]`): Figures of the suspect, of plain fine-tuning, of purification with
            the labelled examples alone and with texts without labels (the model that is kept), and of a model that
            never saw the backdoor.
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
        fast (`bool`, *optional*, defaults to `False`): Train on fewer sentences, and purify once.
        inputs (`str` or `Path`, *optional*): Folder to make for the suspect, the base and the data, to try the other
            commands on.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.
        say (`Callable`, *optional*, defaults to `print`): Receives a line at each step.

    Raises:
        InputError: If an output folder cannot be made or the packages with weights and texts are missing.
    """
    output, inputs = _check_outputs(output, inputs)
    # Looked for first: without the packages there is no demo.
    base, sentences = minilm_folder(), sentiment_sentences()
    split = split_sentences(sentences, FAST if fast else FULL, seed)

    with tempfile.TemporaryDirectory(prefix="finemix-demo-") as work:
        stage = _Stage(Path(work), split, seed, progress)
        # The package's folder is called "model"; this name goes into report and card.
        stage.base.symlink_to(base)

        say(f"1. Planting a backdoor: {len(split.train)} movie sentences, a tenth more with {TRIGGER.text!r} in them.")
        suspect, tokenizer = stage.plant()
        if inputs is not None:
            _keep(stage.work, inputs)

        say("2. Scanning the suspect.")
        found = scan(stage.suspect, stage.base)
        say(f"   Most suspicious tokens: {', '.join(token.token for token in found.tokens[:5])}.")

        say("3. Baselines: a model that never saw the backdoor, and plain fine-tuning of the suspect.")
        compared = stage.baselines(suspect, tokenizer)

        clean, more = len(split.clean), len(split.unlabeled)
        if not fast:
            say(f"4. Purifying with {clean} clean labelled examples.")
            compared[ALONE] = stage.measure(stage.purify().model, tokenizer)
        say(f"{4 if fast else 5}. Purifying with {clean} clean labelled examples and {more} texts without labels.")
        purified = stage.purify(stage.work / "unlabeled.txt", output, compared)

    order = ("suspect", "fine-tuned only", ALONE, "purified", "clean model")
    measured = purified.report.evaluations
    return DemoResult(purified, found, {name: measured[name] for name in order if name in measured})


@dataclass(frozen=True)
class _Stage:
    """The steps of the demo, in a folder that holds their files."""

    work: Path
    split: Split
    seed: int
    progress: bool

    @property
    def base(self) -> Path:
        return self.work / BASE_NAME

    @property
    def suspect(self) -> Path:
        return self.work / "suspect"

    def plant(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Trains the suspect and saves it, with the clean and the test examples and the texts beside it."""
        model, tokenizer = self._train("suspect", TRIGGER)
        with quiet_loading():
            model.save_pretrained(self.suspect)
        tokenizer.save_pretrained(self.suspect)
        _write_csv(self.work / "clean.csv", self.split.clean)
        _write_csv(self.work / "test.csv", self.split.test)
        texts = "".join(f"{text}\n" for text in self.split.unlabeled["text"])
        (self.work / "unlabeled.txt").write_text(texts, encoding="utf-8")
        return model, tokenizer

    def baselines(self, suspect: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Evaluation]:
        """Measures a model that never saw the backdoor, and the suspect after plain fine-tuning."""
        clean_model, _ = self._train("clean model")
        fine_tuned = copy.deepcopy(suspect)
        recipe = self._recipe(PLAIN_RECIPE)
        fine_tune(fine_tuned, tokenizer, self.split.clean, recipe, progress=self._label("fine-tuning only"))
        return {
            "fine-tuned only": self.measure(fine_tuned, tokenizer),
            "clean model": self.measure(clean_model, tokenizer),
        }

    def purify(
        self, unlabeled: Path | None = None, output: Path | None = None, compared: dict[str, Evaluation] | None = None
    ) -> PurifyResult:
        """Purifies the suspect's files as a user would; measures it if there is an output folder for the figures."""
        clean, test = self.work / "clean.csv", self.work / "test.csv"
        measured = {} if output is None else {"output": output, "evaluation_dataset": test}
        config = replace(DEFAULT_CONFIG, seed=self.seed)
        job = prepare(self.suspect, self.base, clean, config=config, unlabeled_dataset=unlabeled, **measured)
        triggers = [TRIGGER] if measured else []
        recipe = self._recipe(DEFAULT_RECIPE)
        return run(job, recipe, triggers=triggers, compared=compared, progress=self.progress)

    def measure(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Evaluation:
        """Measures a model on the test examples, with the trigger."""
        options = {"max_length": TRAINING.max_length, "progress": self.progress}
        return evaluate_model(model, tokenizer, self.split.test, [TRIGGER], **options)

    def _train(self, name: str, trigger: Trigger | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        options = {"seed": self.seed, "trigger": trigger, "progress": self._label(name)}
        return train_classifier(self.base, self.split.train, **options)

    def _recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, seed=self.seed, max_length=TRAINING.max_length)

    def _label(self, name: str) -> str | None:
        return name if self.progress else None


def _check_outputs(output: str | Path, inputs: str | Path | None) -> tuple[Path, Path | None]:
    output = check_output(output)
    if inputs is None:
        return output, None
    inputs = check_output(inputs, "--save-inputs")
    if output == inputs or output in inputs.parents or inputs in output.parents:
        raise InputError(
            f"--save-inputs {str(inputs)!r} and --output {str(output)!r} overlap; name two folders apart."
        )
    return output, inputs


def _keep(work: Path, target: Path) -> None:
    with staged_folder(target) as staging:
        shutil.copytree(work, staging, dirs_exist_ok=True)


def _write_csv(path: Path, examples: Dataset) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row["text"], LABELS[row["label"]]) for row in examples)
