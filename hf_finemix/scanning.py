"""Scan: what moved suspiciously in a fine-tuned model, and what its suspicious tokens do. Changes nothing."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .checks import check_configs
from .config import check_integer
from .data import load_texts
from .drift_groups import drift_by_group
from .embeddings import drift_scores, rank_rows
from .errors import InputError
from .findings import finding_level, prominence, robust_deviations
from .frequencies import source_name, token_frequencies
from .heads import Head, describe_head
from .labels import label_names
from .loading import Checkpoint, resolve_checkpoint
from .model_loading import load_classifier, load_tokenizer
from .modeling import name_tokens
from .outliers import find_outliers
from .prescan import prescan as look_at_pickles
from .progress import Bar
from .relatedness import LOOKED_AT, check_related, median_cosine
from .scan_report import ScannedToken, ScanReport, token_text
from .tensor_drift import TensorDrift, measure_drift
from .tensor_pairs import TensorPairs
from .threads import one_torch_thread
from .token_pull import pulling_tokens
from .trigger_search import Insertion, search_triggers
from .vocabularies import check_rows


# More texts would hardly change the figures: 97 of 100 flips have the 95 % interval from 91.5 to 99.0 %.
MOST_TEXTS = 100
# All tokens are tried with about so many texts, and so many of the best ones then with all: a trigger does not miss
# the final, and the whole takes a third of the time.
SCREENED, FINALISTS = 25, 10
# Tokens that gradients point to, beside those whose embedding moved.
PULLING = 50
# Most texts are shorter; of longer ones the beginning has to do.
SEARCH_LENGTH = 128


def scan(
    suspect: str | Path | Checkpoint,
    pretrained: str | Path | Checkpoint,
    *,
    top: int = 20,
    frequencies: str = "vocabulary",
    frequency_floor: int = 20,
    texts: Dataset | str | Path | None = None,
    text_columns: Sequence[str] | None = None,
    search_top: int = 100,
    seed: int = 0,
    allow_unrelated: bool = False,
    prescan: bool = False,
    progress: bool = False,
) -> ScanReport:
    """
    Ranks the tokens whose embedding moved suspiciously far (E-PUR), measures the drift of each layer and finds what
    moved out of line; with clean texts, it also tries what the suspicious tokens do.

    The two checkpoints are read from their files tensor by tensor and part by part: no model is made, so that any
    architecture with a word embedding will do and little memory is needed. Only the search for triggers loads the
    suspect, which must then be a classifier.

    Args:
        suspect (`str`, `Path` or [`~hf_finemix.loading.Checkpoint`]): Hub id, `id@revision` or local folder.
        pretrained (`str`, `Path` or [`~hf_finemix.loading.Checkpoint`]): The weights that it was fine-tuned from.
        top (`int`, *optional*, defaults to 20): How many tokens to report.
        frequencies (`str`, *optional*, defaults to `"vocabulary"`): Source of the token counts; see
            [`~hf_finemix.frequencies.token_frequencies`].
        frequency_floor (`int`, *optional*, defaults to 20): Token counts below it are raised to it.
        texts (`datasets.Dataset`, `str` or `Path`, *optional*): Clean texts of the suspect's task, all that
            [`~hf_finemix.data.load_texts`] reads. Each of the highest-ranked tokens, and of 50 that the
            suspect's gradients point to (see [`~hf_finemix.token_pull.pulling_tokens`]), is inserted into some 25 of
            them, and the ten that flip most into all. Of more than 100 texts, 100 are drawn, and their first 128
            tokens are used.
        text_columns (`Sequence[str]`, *optional*): The column of the text, or the two of a sentence pair.
        search_top (`int`, *optional*, defaults to 100): How many of the highest-ranked tokens to insert.
        seed (`int`, *optional*, defaults to 0): Seed of the draw and of the places of insertion.
        allow_unrelated (`bool`, *optional*, defaults to `False`): Go on with a base whose weights have hardly a
            direction in common with the suspect's.
        prescan (`bool`, *optional*, defaults to `False`): Let picklescan look at the pickles that lie in a suspect's
            folder, too; from the Hub, pickles are not fetched.
        progress (`bool`, *optional*, defaults to `False`): Whether to show progress bars on standard error.

    Raises:
        InputError: If a checkpoint cannot be read or holds NaN or infinity, the base does not fit, or the texts cannot
            be read or the suspect not be searched with them.
    """
    check_integer("top", top, 1)
    check_integer("search_top", search_top, 1)
    check_integer("seed", seed, 0)
    check_integer("frequency_floor", frequency_floor, 2)
    if text_columns is not None and texts is None:
        raise InputError("--text-column needs --clean-data, the texts to insert tokens into.")
    suspect = suspect if isinstance(suspect, Checkpoint) else resolve_checkpoint(suspect, "SUSPECT")
    pretrained = pretrained if isinstance(pretrained, Checkpoint) else resolve_checkpoint(pretrained, "`pretrained`")
    check_apart(suspect, pretrained)
    strange = look_at_pickles(suspect.folder) if prescan else None
    _check_not_mixed(suspect)
    check_configs(suspect.config, pretrained.config, pretrained.source)
    tokenizer = load_tokenizer(suspect, "SUSPECT")
    if pretrained.has_tokenizer:
        base_vocabulary = load_tokenizer(pretrained, "`pretrained`").get_vocab()
        check_rows(tokenizer.get_vocab(), base_vocabulary, pretrained.source)
    drawn = None if texts is None else _draw(load_texts(texts, text_columns, "--clean-data"), seed)
    model = None if drawn is None else load_classifier(suspect, "SUSPECT")

    pairs = TensorPairs(suspect, pretrained)
    if not allow_unrelated:
        scalars = sum(math.prod(pairs.shapes[name]) for name in _matrices(pairs))
        check_related(median_cosine(_beginnings(pairs), scalars), pretrained.source)
    labels = label_names(suspect.config)
    counts = token_frequencies(frequencies, tokenizer, pairs.shapes[pairs.embedding][0])
    drifts = _measure(pairs, progress)
    head = _read_head(pairs, labels)
    pairs.close()
    moved = drifts[pairs.embedding].rows
    scores = drift_scores(moved, counts[: len(moved)], frequency_floor)
    insertions = ()
    if model is not None:
        ids = [int(row) for row in rank_rows(scores)[:search_top]]
        insertions = _search(model, tokenizer, drawn, ids, seed, progress)
    prominent = prominence(scores)
    return ScanReport(
        suspect=suspect.label,
        pretrained=pretrained.label,
        finding=finding_level(prominent, insertions),
        prominence=prominent,
        tokens=_rank(scores, top, tokenizer),
        layers=drift_by_group(drifts, pairs.prefix),
        frequencies=source_name(frequencies),
        outliers=find_outliers(drifts, pairs.embedding),
        strange_files=strange,
        head=head,
        absent=pairs.absent | _rows_without(pairs, len(moved)),
        labels=labels if head is not None or insertions else (),
        texts=0 if drawn is None else len(drawn),
        insertions=insertions,
    )


def check_apart(suspect: Checkpoint, pretrained: Checkpoint) -> None:
    """
    Checks that suspect and base are not the same files: nothing would be found, and nothing purified.

    Raises:
        InputError: If they are.
    """
    if suspect.folder.resolve() == pretrained.folder.resolve():
        raise InputError(
            f"SUSPECT and --pretrained are both {suspect.source!r}; give the weights that it was fine-tuned from."
        )


def _check_not_mixed(suspect: Checkpoint) -> None:
    if suspect.config.get("finemix"):
        raise InputError(
            f"SUSPECT {suspect.source!r} was mixed before (its config.json has a `finemix` record), so that its "
            "weights show nothing any more; scan the original suspect."
        )


def _rows_without(pairs: TensorPairs, scored: int) -> dict[str, str]:
    """Returns the tokens that were added to the vocabulary, which nothing can be said of."""
    added = pairs.shapes[pairs.embedding][0] - scored
    return {f"{pairs.embedding}, its last {added:,} rows": "not in the pretrained checkpoint"} if added else {}


def _draw(texts: Dataset, seed: int) -> Dataset:
    if not len(texts):
        raise InputError("--clean-data has no rows; give some clean texts.")
    if len(texts) <= MOST_TEXTS:
        return texts
    # Files are often sorted by label: the first rows would not do.
    rows = np.random.default_rng(seed).choice(len(texts), size=MOST_TEXTS, replace=False)
    return texts.select(np.sort(rows))


def _beginnings(pairs: TensorPairs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for name in _matrices(pairs):
        suspect, pretrained = next(pairs.parts(name))
        yield tuple(part.flatten()[:LOOKED_AT].float().numpy() for part in (suspect, pretrained))


def _matrices(pairs: TensorPairs) -> list[str]:
    return [name for name in pairs.counterparts if len(pairs.shapes[name]) > 1]


def _measure(pairs: TensorPairs, progress: bool) -> dict[str, TensorDrift]:
    # Each part is small enough for a cache: on a busy machine, threads wait for each other longer than they work.
    drifts = {}
    with one_torch_thread(), Bar(len(pairs.counterparts), "reading", progress) as bar:
        for name in pairs.counterparts:
            drifts[name] = measure_drift(pairs.parts(name))
            bar.update()
        for name in pairs.absent:
            # The head has no counterpart; what is left to check is that its numbers are numbers.
            for _ in pairs.suspect_parts(name):
                pass
    return drifts


def _search(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    ids: Sequence[int],
    seed: int,
    progress: bool,
) -> tuple[Insertion, ...]:
    """Tries these tokens and those that gradients point to with a part of the texts, then the best with all."""
    options = {"max_length": SEARCH_LENGTH, "seed": seed}
    part = texts.select(range(0, len(texts), max(1, len(texts) // SCREENED)))
    pulling = pulling_tokens(model, tokenizer, part, PULLING, **options)
    options["progress"] = progress
    screened = search_triggers(model, tokenizer, part, list(dict.fromkeys((*ids, *pulling))), **options)
    if len(part) == len(texts):
        return screened
    finalists = [item.id for item in screened[:FINALISTS]]
    found = search_triggers(model, tokenizer, texts, finalists, **options)
    return tuple(sorted((*found, *screened[FINALISTS:]), key=lambda item: item.flips.low or 0.0, reverse=True))


def _read_head(pairs: TensorPairs, labels: Sequence[str]) -> Head | None:
    """Returns the head's figures: the last matrix outside the base model that has one row a label."""
    shapes = {name: shape for name, shape in pairs.shapes.items() if not name.startswith(pairs.prefix)}
    weights = [name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == len(labels)]
    if len(labels) < 2 or not weights:
        return None
    weight = weights[-1]
    bias = weight.removesuffix("weight") + "bias"
    has_bias = shapes.get(bias) == (len(labels),)
    read = [torch.cat(list(pairs.suspect_parts(name))) for name in (weight, bias)[: 1 + has_bias]]
    return describe_head(weight, read[0], read[1].flatten() if has_bias else None, labels)


def _rank(scores: np.ndarray, top: int, tokenizer: PreTrainedTokenizerBase) -> tuple[ScannedToken, ...]:
    deviations = robust_deviations(scores)
    return tuple(
        ScannedToken(item.rank, token_text(item.token, item.id), item.id, item.score, float(deviations[item.id]))
        for item in name_tokens(rank_rows(scores)[:top], scores, tokenizer)
    )
