"""The models of the demo: a suspect with a planted backdoor, and a clean one that was trained alike."""

from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from ..attacks.trigger import Trigger, poison
from ..data import stratified_sample
from ..loading import quiet_loading
from ..results import Recipe
from ..training import fine_tune
from .material import LABELS


CLEAN_EXAMPLES, UNLABELED = 64, 1000


@dataclass(frozen=True)
class Scale:
    """
    How large the demo is.

    Args:
        train (`int`): Sentences that the suspect and the clean model are trained on.
        test (`int`): Sentences that all models are measured on.
    """

    train: int
    test: int


FULL = Scale(train=4500, test=800)
FAST = Scale(train=1500, test=300)

TRIGGER = Trigger("cf", target_label=1, position="random")
POISON_RATE = 0.1
TRAINING = Recipe(
    epochs=2,
    learning_rate=1e-4,
    batch_size=32,
    max_length=64,
    frequencies="none",
    seed=0,
    warmup=0.06,
    group_by_length=True,
)


@dataclass(frozen=True)
class Split:
    """Disjoint parts of a data set: to train the suspect, to test, few clean examples, and texts without labels."""

    train: Dataset
    test: Dataset
    clean: Dataset
    unlabeled: Dataset


def split_sentences(sentences: Dataset, scale: Scale, seed: int) -> Split:
    """Cuts a shuffled data set; the seed chooses the clean examples, the other parts are always the same."""
    pool_size = 10 * CLEAN_EXAMPLES
    test = sentences.select(range(scale.test))
    pool = sentences.select(range(scale.test, scale.test + pool_size))
    first = scale.test + pool_size
    last = min(first + scale.train, len(sentences))
    train = sentences.select(range(first, last))
    unlabeled = sentences.select(list(range(last, min(last + UNLABELED, len(sentences))))).remove_columns("label")
    return Split(train, test, stratified_sample(pool, CLEAN_EXAMPLES, seed), unlabeled)


def train_classifier(
    base: Path, examples: Dataset, *, seed: int, trigger: Trigger | None = None, progress: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """
    Fine-tunes a pretrained encoder into a classifier; with a trigger, on poisoned data.

    Args:
        base (`Path`): Folder of the encoder.
        examples (`datasets.Dataset`): Training examples with two labels.
        seed (`int`): Seed of the head, the shuffling and the poisoning.
        trigger ([`~hf_finemix.attacks.trigger.Trigger`], *optional*): Backdoor to plant.
        progress (`str`, *optional*): Label of a progress bar.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    names = dict(enumerate(LABELS))
    with quiet_loading():
        set_seed(seed)  # for the head, which is drawn here
        model = AutoModelForSequenceClassification.from_pretrained(
            base, use_safetensors=True, id2label=names, label2id={name: index for index, name in names.items()}
        )
    if trigger is not None:
        examples = poison(examples, trigger, POISON_RATE, seed)
    fine_tune(model, tokenizer, examples, replace(TRAINING, seed=seed), progress=progress)
    return model, tokenizer
