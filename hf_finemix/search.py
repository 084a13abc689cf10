"""`keep_ratio="auto"`: a reserve ratio chosen with held-out clean data and a positive control, without any trigger."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from datasets import Dataset, Value, concatenate_datasets
from transformers import PreTrainedModel

from .config import FineMixConfig
from .control import Control, is_removed, measure_control, plant, record_control
from .data import split
from .distillation import splice
from .evaluation import predict
from .progress import Bar
from .rates import Rate, accuracy
from .records import SearchRecord, TrialRecord
from .results import Distillation, Recipe
from .treatment import Materials, suspicion, suspicious_tokens, treat_
from .trigger_search import Insertion


# Reserve ratios to choose from, smallest first. Keeping what moved least gives up what moved most: it can keep more.
RATIOS = (0.05, 0.1, 0.2, 0.3, 0.5)
DRIFT_RATIOS = (0.5, 0.7, 0.8, 0.9, 0.95)
_FOLDS = 2
# Texts without labels that are held out: a quarter of them, at most so many; or so many spliced ones.
_HELD_OUT, _SPLICED = 192, 384
# Share of the held-out examples that a smaller ratio may lose.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Fold:
    """
    One way to hold examples out.

    Args:
        materials ([`~hf_finemix.treatment.Materials`]): What a trial may learn from.
        held_out (`datasets.Dataset`): What it is measured on; texts without labels have the suspect's answers.
        labeled (`int`): How many of these, the first ones, have true labels.
    """

    materials: Materials
    held_out: Dataset
    labeled: int


def search(
    suspect: PreTrainedModel,
    materials: Materials,
    config: FineMixConfig,
    recipe: Recipe,
    distillation: Distillation,
    *,
    progress: bool = False,
) -> tuple[FineMixConfig, SearchRecord]:
    """
    Chooses the reserve ratio: the smallest one that is as accurate as the best one tried.

    A smaller ratio removes more of any backdoor, known or not, and at some point costs accuracy. What is compared is
    held out of the training, and the differences are paired: see [`is_as_accurate`]. Each ratio is tried on a copy of
    the suspect with a backdoor of our own ([`~hf_finemix.control`]); where that survives, the next smaller ratio is
    taken.

    Args:
        suspect ([`~transformers.PreTrainedModel`]): The suspect; left as it is.
        materials ([`~hf_finemix.treatment.Materials`]): What else there is.
        config ([`FineMixConfig`]): The settings; its ratio is not used.
        recipe ([`~hf_finemix.results.Recipe`]): Settings of the fine-tuning.
        distillation ([`~hf_finemix.results.Distillation`]):
            Settings of the step before it; trials take half of its passes, rounded down, and one at least.
        progress (`bool`, *optional*, defaults to `False`): Show one progress bar on standard error.

    Returns:
        `tuple[FineMixConfig, SearchRecord]`: The settings with the chosen ratio, and how it was chosen.
    """
    ratios = DRIFT_RATIOS if config.selection == "smallest_drift" else RATIOS
    tokenizer, length, last = materials.tokenizer, recipe.max_length, len(ratios) - 1
    shorter = replace(distillation, epochs=min(distillation.epochs, max(1, distillation.epochs // 2)))
    answers = predict(suspect, tokenizer, materials.clean, max_length=length)
    # Without distillation, unlabelled texts teach nothing.
    known = materials if distillation.epochs else replace(materials, unlabeled=None)
    folds = tuple(make_folds(suspect, known, recipe))
    tried: dict[int, tuple[TrialRecord, np.ndarray]] = {}
    # The control, the largest ratio, and each halving of the others.
    with Bar(2 + last.bit_length(), "search", progress, leave=False) as bar:
        control = plant(suspect, tokenizer, materials.texts, max_length=length, seed=recipe.seed)
        scores = suspicion(control.model, materials, config, recipe)
        triggers = suspicious_tokens(control.model, materials, scores, recipe, distillation)
        before = _sum(measure_control(control.model, tokenizer, control, fold.held_out, length) for fold in folds)
        bar.update()

        def attempt(number: int) -> tuple[TrialRecord, np.ndarray]:
            if number not in tried:
                settings = replace(config, keep_ratio=ratios[number])
                tried[number] = _try(control, before, folds, triggers, settings, recipe, shorter)
                bar.update()
            return tried[number]

        def is_good(number: int) -> bool:
            right = attempt(number)[1]
            return is_as_accurate(right, max((each for _, each in tried.values()), key=np.count_nonzero))

        attempt(last)
        chosen = find_smallest(last, is_good)
        while chosen and not is_removed(attempt(chosen)[0].control):
            chosen -= 1
        removed = is_removed(attempt(chosen)[0].control)
    order = sorted(tried)
    record = SearchRecord(
        reference=accuracy(answers, list(materials.clean["label"])),
        folds=len(folds),
        trials=tuple(tried[number][0] for number in order),
        chosen=order.index(chosen),
        removed=removed,
    )
    return replace(config, keep_ratio=ratios[chosen]), record


def find_smallest(last: int, is_good: Callable[[int], bool]) -> int:
    """
    Finds the smallest of the numbers from 0 to `last` that is good, by bisection.

    Args:
        last (`int`): The largest number, which is good by assumption, as is each one above a good one.
        is_good (`Callable`): Tells whether a number below `last` is good.
    """
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        if is_good(middle):
            high = middle
        else:
            low = middle + 1
    return high


def is_as_accurate(right: np.ndarray, reference: np.ndarray) -> bool:
    """
    Tells whether one model loses at most one point against another on the same examples, nor more than one standard
    error.

    The rule of one standard error alone ("Classification and Regression Trees", Breiman et al., 1984) would give away
    two points where two models disagree on a tenth of 256 examples.

    Args:
        right (`np.ndarray`): Where it is right: `bool`, shape (examples,).
        reference (`np.ndarray`): Where the other one is right.
    """
    losses = reference.astype(float) - right.astype(float)
    return bool(losses.mean() <= min(losses.std() / math.sqrt(len(losses)), _TOLERANCE))


def make_folds(suspect: PreTrainedModel, materials: Materials, recipe: Recipe) -> Iterator[Fold]:
    """
    Holds examples out: all labels at once where unlabelled texts can teach, else each half of them in turn.

    Args:
        suspect, materials, recipe: As for [`search`].
    """
    clean = materials.clean
    if materials.unlabeled is None or not len(materials.unlabeled):
        parts = split(clean, len(clean) // _FOLDS, recipe.seed)
        for held_out, learned in (parts, parts[::-1]):
            # A few labels alone tell too little: a part of what is held out has the suspect's answer.
            more = splice(held_out.remove_columns("label"), _SPLICED // _FOLDS, recipe.seed)
            yield Fold(
                replace(materials, clean=learned), _add(held_out, more, suspect, materials, recipe), len(held_out)
            )
        return
    texts = materials.unlabeled
    first = len(texts) - min(_HELD_OUT, len(texts) // 4)
    learned, held_out = texts.select(list(range(first))), texts.select(list(range(first, len(texts))))
    none = clean.select([])
    added = _add(clean, held_out, suspect, materials, recipe)
    yield Fold(replace(materials, clean=none, unlabeled=learned), added, len(clean))


def _add(labeled: Dataset, texts: Dataset, suspect: PreTrainedModel, materials: Materials, recipe: Recipe) -> Dataset:
    """Returns labelled examples, then texts that have the suspect's own answers as labels."""
    if not len(texts):
        return labeled
    answers = predict(suspect, materials.tokenizer, texts, max_length=recipe.max_length)
    answered = texts.add_column("label", answers.tolist(), feature=Value("int64"))
    return concatenate_datasets([labeled, answered])


def _try(
    control: Control,
    before: Sequence[Rate],
    folds: Sequence[Fold],
    triggers: tuple[Insertion, ...],
    config: FineMixConfig,
    recipe: Recipe,
    distillation: Distillation,
) -> tuple[TrialRecord, np.ndarray]:
    right, of_labeled, after = [], [], []
    for fold in folds:
        model, tokenizer = copy.deepcopy(control.model), fold.materials.tokenizer
        treat_(model, fold.materials, config, recipe, distillation, triggers=triggers)
        predictions = predict(model, tokenizer, fold.held_out, max_length=recipe.max_length)
        right.append(predictions == np.array(list(fold.held_out["label"])))
        of_labeled.append(right[-1][: fold.labeled])
        after.append(measure_control(model, tokenizer, control, fold.held_out, recipe.max_length))
    everything, labeled = np.concatenate(right), np.concatenate(of_labeled)
    record = TrialRecord(
        keep_ratio=config.keep_ratio,
        selection=config.selection,
        accuracy=Rate(int(labeled.sum()), len(labeled)),
        agreement=Rate(int(everything.sum()), len(everything)),
        control=record_control(control, before, _sum(after)),
    )
    return record, everything


def _sum(measured: "Iterator[Sequence[Rate]] | Sequence[Sequence[Rate]]") -> tuple[Rate, ...]:
    return tuple(
        Rate(sum(rate.successes for rate in rates), sum(rate.n for rate in rates))
        for rates in zip(*measured, strict=True)
    )
