"""A purification before it begins: every input loaded and checked, the plan made, nothing changed yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .adapter_suspects import Suspect, find_suspect, whole_suspect
from .adapters import Adapter
from .checks import check_configs, check_finite, check_model, check_not_mixed
from .config import FineMixConfig
from .data import check_trainable, fingerprint, load_examples, load_texts
from .embeddings import rank_rows
from .errors import InputError
from .generators.conversations import load_conversations
from .job_checks import check_labels, check_task, check_texts
from .loading import Checkpoint, resolve_checkpoint
from .model_loading import is_generator, load_model, load_tokenizer
from .modeling import TokenScore, name_tokens, plan, score_embeddings
from .output import check_output
from .plan import MixReport, canonical_name
from .readers import HUB_DATASET
from .recipes import DEFAULT_CONFIG, DEFAULT_RECIPE
from .relatedness import LOOKED_AT, check_related, median_cosine
from .results import DataRecord, Recipe
from .scanning import check_apart
from .twin import Twin, common_rows, load_twin


@dataclass(frozen=True)
class Job:
    """
    All inputs of a purification, loaded and checked, and the plan; nothing has been changed yet.

    `records` are those of the clean, the evaluation and the unlabelled data; `origin` is what the suspect came as.
    """

    suspect: Checkpoint
    pretrained: Checkpoint
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    clean: Dataset
    evaluation: Dataset | None
    config: FineMixConfig
    plan: MixReport
    output: Path | None
    records: tuple[DataRecord, DataRecord | None, DataRecord | None]
    clean_model: Checkpoint | None
    unlabeled: Dataset | None = None
    origin: Suspect | None = None

    @property
    def given(self) -> Checkpoint:
        """The suspect's files as the user gave them: those of an adapter, if it is one."""
        return self.suspect if self.origin is None else self.origin.origin

    @property
    def own_template(self) -> bool | None:
        """Whether the suspect's chat template is another than the base's; `None` if there are not two to compare."""
        ours = self.tokenizer.chat_template
        if ours is None or not self.pretrained.has_tokenizer or not is_generator(self.suspect):
            return None
        return ours != load_tokenizer(self.pretrained, "--pretrained").chat_template

    def load_twin(self) -> Twin:
        """Loads the pretrained weights under the names of the suspect, with the rows of its vocabulary."""
        return load_twin(self.model, self.pretrained, self.config, self.tokenizer, strict=False)


def prepare(
    suspect: str | Path | Checkpoint | Adapter,
    pretrained: str | Path,
    clean_dataset: str | Path | Dataset,
    *,
    output: str | Path | None = None,
    config: FineMixConfig | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    evaluation_dataset: str | Path | Dataset | None = None,
    clean_model: str | Path | None = None,
    unlabeled_dataset: str | Path | Dataset | None = None,
    allow_unrelated: bool = False,
    labels: Sequence[str] | None = None,
    strict: bool = True,
) -> Job:
    """
    Loads and checks everything that [`purify`] needs, and plans the mixing; changes and writes nothing.

    Takes the arguments of [`purify`] that name inputs; the suspect may be found already. Without `strict`, the plan
    may hold parameters that are refused.

    Raises:
        InputError: If an input cannot be used.
    """
    config = config or DEFAULT_CONFIG
    if clean_model is not None and evaluation_dataset is None:
        raise InputError("--clean-model needs --eval-data, the examples to measure it on.")
    folder = None if output is None else check_output(output)
    base_files = resolve_checkpoint(pretrained, "--pretrained")
    given = find_suspect(suspect) if isinstance(suspect, (str, Path)) else suspect
    found = whole_suspect(given, base_files, labels)
    suspect_files = found.model
    baseline = None if clean_model is None else resolve_checkpoint(clean_model, "--clean-model")
    check_apart(suspect_files, base_files)
    check_configs(suspect_files.config, base_files.config, base_files.source)
    answers = is_generator(suspect_files)
    model = load_model(suspect_files, "SUSPECT", answers)
    check_model(model, "SUSPECT")
    check_not_mixed(model, "SUSPECT")
    check_finite(model.named_parameters(), "SUSPECT")
    if answers and unlabeled_dataset is not None:
        raise InputError(
            "--unlabeled-data is for classifiers: a language model learns from any clean text; add it to --clean-data."
        )
    if not answers:
        check_task(model, f"SUSPECT {suspect_files.source!r}")
    tokenizer = load_tokenizer(suspect_files, "SUSPECT")

    load = partial(load_data, model, text_columns, label_column)
    clean = load(clean_dataset, "--clean-data")
    if not answers:
        check_trainable(clean, model.config.num_labels, argument="--clean-data")
    evaluation = None if evaluation_dataset is None else load(evaluation_dataset, "--eval-data")
    unlabeled = None
    if unlabeled_dataset is not None:
        unlabeled = load_texts(unlabeled_dataset, text_columns)
        check_texts(unlabeled, clean)
    if baseline is not None and is_generator(baseline) != answers:
        kind = "a language model" if answers else "a classifier"
        raise InputError(f"--clean-model {baseline.source!r} must be {kind}, as the suspect is.")
    if baseline is not None and not answers:
        check_labels(model.config, baseline)
    twin = load_twin(model, base_files, config, tokenizer, strict)
    if not allow_unrelated:
        check_twin(model, twin, base_files.source)
    twin_plan = plan(model, twin, config)
    records = (
        _record(clean, clean_dataset, text_columns, label_column),
        None if evaluation is None else _record(evaluation, evaluation_dataset, text_columns, label_column),
        None if unlabeled is None else _record(unlabeled, unlabeled_dataset, text_columns, None),
    )
    return Job(
        suspect_files,
        base_files,
        model,
        tokenizer,
        clean,
        evaluation,
        config,
        twin_plan,
        folder,
        records,
        baseline,
        unlabeled,
        found,
    )


def load_data(
    model: PreTrainedModel,
    text_columns: Sequence[str] | None,
    label_column: str | None,
    data: str | Path | Dataset,
    argument: str,
) -> Dataset:
    """
    Loads examples of the kind that a model has: labelled texts for a classifier, conversations for a language model.

    Raises:
        InputError: If they cannot be used.
    """
    if model.can_generate():
        if text_columns is not None and len(text_columns) != 1:
            raise InputError("--text-column is given twice, but a language model has one column of prompts.")
        names = {"prompt_column": text_columns and text_columns[0], "response_column": label_column}
        return load_conversations(data, argument=argument, **names)
    columns = {"text_columns": text_columns, "label_column": label_column}
    labels = {"label2id": model.config.label2id, "num_labels": model.config.num_labels}
    return load_examples(data, argument=argument, **columns, **labels)


def check_twin(model: PreTrainedModel, twin: Twin, pretrained: str) -> None:
    """
    Checks that pretrained weights are those that a model was fine-tuned from, or near to them.

    Raises:
        InputError: If they are no relatives.
    """
    named = {canonical_name(name): parameter for name, parameter in model.named_parameters()}
    pairs = [(common_rows(named[name], other), other) for name, other in twin.tensors.items() if other.dim() > 1]
    flat = ((_beginning(own), _beginning(other)) for own, other in pairs)
    check_related(median_cosine(flat, sum(other.numel() for _, other in pairs)), pretrained)


def _beginning(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().flatten()[:LOOKED_AT].float().cpu().numpy()


def rows_to_reset(job: Job, recipe: Recipe = DEFAULT_RECIPE) -> tuple[TokenScore, ...]:
    """
    Returns the word embeddings that [`run`] would reset, the most suspicious first, without resetting them.

    Raises:
        InputError: If the recipe's source of token counts cannot be used.
    """
    twin = job.load_twin()
    if twin.embedding is None or not job.config.purify_top_k:
        return ()
    floor = job.config.frequency_floor
    scores = score_embeddings(job.model, twin, recipe.frequencies, tokenizer=job.tokenizer, frequency_floor=floor)
    return name_tokens(rank_rows(scores)[: job.config.purify_top_k], scores, job.tokenizer)


def _data_name(data: str | Path | Dataset) -> str:
    if isinstance(data, Dataset):
        return "in-memory data set"
    return Path(data).name if Path(data).exists() else str(data)


def _record(
    examples: Dataset, data: str | Path | Dataset, text_columns: Sequence[str] | None, label_column: str | None
) -> DataRecord:
    name, repo_id = _data_name(data), None
    if not isinstance(data, (Dataset, Path)) and not Path(data).exists():
        repo_id = HUB_DATASET.fullmatch(data)["id"]
    columns = None if text_columns is None else tuple(text_columns)
    return DataRecord(name, len(examples), fingerprint(examples), repo_id, columns, label_column)
