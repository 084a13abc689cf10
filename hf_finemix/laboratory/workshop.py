"""Makes clean models and suspects and keeps them, so that no process loads or trains one twice."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from accelerate import PartialState
from filelock import FileLock
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from ..attacks.base import AttackerView
from ..evaluation import longest_input
from ..frequencies import corpus, token_frequencies
from ..loading import Checkpoint, quiet_loading, resolve_checkpoint
from ..model_loading import load_classifier, load_tokenizer
from ..modeling import score_embeddings
from ..output import staged_folder
from ..results import Recipe
from ..tasks.task import Splits, Task
from ..training import fine_tune
from ..twin import Twin, load_twin
from .base_models import BaseModel
from .results import MODELS
from .specs import CLEAN_TEXTS, CellSpec, CleanSpec, SuspectSpec


# Suspects and clean models are needed one after the other; more of them would only fill the memory.
_MODELS_AT_ONCE = 4
_T = TypeVar("_T")


class Workshop:
    """
    The models of one bench folder, as one process sees them.

    Args:
        folder (`Path`): Folder of the bench. Models lie in its subfolder `models`.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._room = _MODELS_AT_ONCE
        self._models: OrderedDict[str, PreTrainedModel] = OrderedDict()
        self._memory: dict[tuple, Any] = {}
        self._defense: tuple[tuple, dict[str, Any]] = ((), {})

    def make_room(self, models: int) -> None:
        """Lets so many models stay in memory, if that is more than usual: a cell needs all of its own at once."""
        self._room = max(models, _MODELS_AT_ONCE)

    def splits(self, task: Task) -> Splits:
        """Returns a task's examples."""
        return self._remember(("splits", repr(task)), task.load)

    def checkpoint(self, base: BaseModel) -> Checkpoint:
        """Returns the files of a pretrained model."""
        return self._remember(("checkpoint", base), base.resolve)

    def tokenizer(self, base: BaseModel) -> PreTrainedTokenizerBase:
        """Returns the tokenizer of a pretrained model."""
        return self._remember(
            ("tokenizer", base), lambda: load_tokenizer(self.checkpoint(base), f"model {base.name!r}")
        )

    def twin(self, model: PreTrainedModel, base: BaseModel) -> Twin:
        """Returns the pretrained weights under the names of a classifier."""
        return self._remember(("twin", base), lambda: load_twin(model, self.checkpoint(base)))

    def clean_model(self, spec: CleanSpec) -> PreTrainedModel:
        """Returns the clean classifier of a task; not to be changed."""
        return self._model(spec.id, lambda: self._train_clean(spec))

    def suspect(self, spec: SuspectSpec) -> PreTrainedModel:
        """Returns a suspect; not to be changed."""
        return self._model(spec.id, lambda: self._train_suspect(spec))

    def has(self, spec: CleanSpec | SuspectSpec) -> bool:
        """Tells whether a model was made before."""
        return (self.folder / MODELS / spec.id).is_dir()

    def max_length(self, spec: CleanSpec, model: PreTrainedModel) -> int:
        """Returns the longest input of a task in tokens, or less if the model cannot take so many."""
        return longest_input(spec.task.max_length, self.tokenizer(spec.model), model)

    def frequencies(self, base: BaseModel, source: str, size: int, task: Task) -> np.ndarray:
        """Returns token counts; from the source [`CLEAN_TEXTS`], those of the task's held-out clean texts."""
        tokenizer = self.tokenizer(base)
        if source != CLEAN_TEXTS:
            key = ("frequencies", base, source)
            return self._remember(key, lambda: token_frequencies(source, tokenizer, size))
        splits = self.splits(task)
        texts = [text for part in (splits.pool, splits.validation) for text in part["text"]]
        return corpus(texts, tokenizer, size)

    def scores(self, spec: SuspectSpec, source: str) -> np.ndarray:
        """Returns the E-PUR scores of a suspect, shape (vocabulary,)."""
        model, base = self.suspect(spec), spec.clean.model
        counts = self.counts(spec, source)
        return score_embeddings(model, self.twin(model, base), counts, tokenizer=self.tokenizer(base))

    def counts(self, spec: SuspectSpec, source: str) -> np.ndarray:
        """Returns the token counts by which the word embeddings of a suspect are scored, shape (vocabulary,)."""
        size = len(self.suspect(spec).get_input_embeddings().weight)
        return self.frequencies(spec.clean.model, source, size, spec.clean.task)

    def memory(self, spec: CellSpec) -> dict[str, Any]:
        """Returns what a defence keeps from cell to cell: the same for a defence with and without E-PUR."""
        others = tuple(other.id for other in spec.others)
        key = (spec.suspect.id, spec.label, repr(spec.defense), spec.clean_examples, spec.recipe, others)
        if self._defense[0] != key:
            self._defense = (key, {})
        return self._defense[1]

    def _fresh(self, spec: CleanSpec) -> PreTrainedModel:
        names = dict(enumerate(spec.task.labels))
        with quiet_loading():
            set_seed(spec.seed)  # for the head, which is drawn here
            return AutoModelForSequenceClassification.from_pretrained(
                self.checkpoint(spec.model).folder,
                use_safetensors=True,
                trust_remote_code=False,
                id2label=names,
                label2id={name: index for index, name in names.items()},
            )

    def _train_clean(self, spec: CleanSpec) -> PreTrainedModel:
        model = self._fresh(spec)
        fine_tune(model, self.tokenizer(spec.model), self._train_set(spec), self._recipe(spec, model))
        return model

    def _train_suspect(self, spec: SuspectSpec) -> PreTrainedModel:
        clean, attack = spec.clean, spec.make_attack()
        model = copy.deepcopy(self.clean_model(clean)) if attack.start == "clean" else self._fresh(clean)
        train = self._train_set(clean)
        other = None if spec.other is None else self.splits(spec.other).train
        recipe = self._recipe(clean, model)
        view = AttackerView(self.tokenizer(clean.model), train, self._fresh(clean), recipe, other)
        set_seed(clean.seed)  # for attacks that draw from the global generators
        return attack.train(model, attack.poison(train if other is None else other), view)

    def _recipe(self, spec: CleanSpec, model: PreTrainedModel) -> Recipe:
        return replace(spec.recipe, max_length=self.max_length(spec, model))

    def _train_set(self, spec: CleanSpec) -> Any:
        train = self.splits(spec.task).train
        return train if spec.model.train is None else train.select(range(min(spec.model.train, len(train))))

    def _model(self, name: str, train: Callable[[], PreTrainedModel]) -> PreTrainedModel:
        if name in self._models:
            self._models.move_to_end(name)
            return self._models[name]
        folder = self.folder / MODELS / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Another process may be at it: then it is worth waiting.
        with FileLock(folder.with_name(f".{name}.lock")):
            if folder.is_dir():
                model = load_classifier(resolve_checkpoint(folder, "model"), "model")
            else:
                model = train()
                with quiet_loading(), staged_folder(folder) as staging:
                    model.save_pretrained(staging)
        # From the disk or from memory: the same weights, where a trainer puts them, and in evaluation mode.
        model.config._name_or_path = ""
        self._models[name] = model.to(PartialState().device).eval()
        while len(self._models) > self._room:
            self._models.popitem(last=False)
        return model

    def _remember(self, key: tuple, make: Callable[[], _T]) -> _T:
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]
