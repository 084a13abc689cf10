"""Fine-mixing and embedding purification of a loaded model, in place: thin glue around the pure functions."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .checks import check_finite, check_model, check_not_mixed, was_mixed
from .choices import FISHER
from .config import FineMixConfig
from .drift import Part, in_parts
from .embeddings import embedding_scores, rank_rows, reset_rows_
from .errors import InputError
from .fisher import check_information
from .frequencies import token_frequencies, vocabulary_rank
from .generation_settings import make_settings_plain_
from .masks import MASK_VERSION
from .mixing import mix_each_
from .part_mixing import find_mix_cut
from .partitions import on_whole
from .plan import MixReport, canonical_name
from .resets import PurifyReport, TokenScore
from .shards import Shares, check_finite_together, is_sharded, reset_rows_here_, whole
from .twin import Pretrained, Twin, common_rows, load_twin, plan, unwrap


@torch.no_grad()
@on_whole(changed=True)
def fine_mix_(
    model: PreTrainedModel,
    pretrained: Pretrained | Twin,
    config: FineMixConfig | None = None,
    *,
    allow_mixed: bool = False,
    fisher: Mapping[str, torch.Tensor] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> MixReport:
    """
    Mixes a fine-tuned model with its pretrained weights, in place.

    Fine-mixing (Zhang et al., Findings of EMNLP 2022): a share `keep_ratio` of the scalars keeps the fine-tuned value,
    the others take the pretrained one. Parameters without a pretrained counterpart (the head) keep their values, and
    buffers stay; of the settings of a language model (`generation_config`) none stays but which tokens begin and end a
    text. Which scalars are kept depends on the seed, the parameter's name and the scalar's offset alone.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect; may be wrapped for distributed training.
        pretrained (`str`, `Path` or [`~transformers.PreTrainedModel`]):
            The clean weights: a Hub id (`id` or `id@revision`), a local folder or a loaded model.
        config ([`FineMixConfig`], *optional*): The settings; defaults to `FineMixConfig()`.
        allow_mixed (`bool`, *optional*, defaults to `False`): Mix a model that was mixed before.
        fisher (`Mapping[str, torch.Tensor]`, *optional*):
            Diagonal Fisher information by parameter name, which the selection `"fisher"` needs; from
            [`~hf_finemix.fisher.fisher_information`] or [`~hf_finemix.fisher_file.FisherFile`].
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
            The model's tokenizer. With it, and if one lies beside the base, the rows of the two vocabularies are
            compared. Without it, rows of the same number are pairs, as far as both have them.

    Returns:
        [`~hf_finemix.plan.MixReport`]: Every parameter with what was done to it and why.

    Raises:
        InputError: If the model cannot be mixed, or the base does not fit. The model is then unchanged.
    """
    config = config or FineMixConfig()
    model = unwrap(model)
    check_model(model)
    if not allow_mixed:
        check_not_mixed(model)
    twin = pretrained
    if not isinstance(twin, Twin):
        twin = load_twin(model, pretrained, config, tokenizer)
    report = plan(model, twin, config)
    report.check()
    parameters = {canonical_name(name): tensor for name, tensor in model.named_parameters()}
    mixed = {record.name: twin.tensors[record.name].numel() for record in report.mixed}
    sharded = any(map(is_sharded, parameters.values()))
    check = check_finite_together if sharded else check_finite
    check(((name, parameters[name]) for name in mixed), "model")
    check_finite(((name, twin.tensors[name]) for name in mixed), "pretrained")

    if config.selection == FISHER:
        check_information(fisher, {name: tuple(parameters[name].shape) for name in mixed})

    def others(name: str) -> Part:
        base = twin.tensors[name]
        return (base, common_rows(fisher[name], base)) if config.selection == FISHER else (base,)

    def parts(name: str) -> Iterator[Part]:
        base, *rest = others(name)
        return in_parts(common_rows(whole(parameters[name].data), base), base, *rest)

    shares = Shares({name: parameters[name] for name in mixed})
    cut = find_mix_cut(config, list(mixed), parts, mixed)
    # The record comes first: a model whose mixing was interrupted must not pass for an untouched one.
    model.config.finemix = config.to_dict() | {"pretrained": twin.source, "mask_version": MASK_VERSION}
    mine = ((name, shares.part(name, *others(name))) for name in mixed)
    # They could say what the weights no longer do.
    make_settings_plain_(model)
    kept = shares.finish(mix_each_(mine, config, cut, starts=shares.starts))
    # What has no counterpart keeps the suspect's value, too.
    return report.with_counts({name: kept[name] + parameters[name].numel() - mixed[name] for name in mixed})


@on_whole()
def score_embeddings(
    model: PreTrainedModel,
    pretrained: Pretrained | Twin,
    frequencies: np.ndarray | str | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    frequency_floor: int = 20,
    config: FineMixConfig | None = None,
) -> np.ndarray:
    """
    Scores each word embedding by how suspiciously far it moved (E-PUR; Zhang et al., Findings of EMNLP 2022).

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect, *not* mixed yet.
        pretrained (`str`, `Path` or [`~transformers.PreTrainedModel`]): The clean weights, as for [`fine_mix_`].
        frequencies (`np.ndarray` or `str`, *optional*):
            Count of each token in a clean corpus, shape (vocabulary,), or a source that
            [`~hf_finemix.frequencies.token_frequencies`] knows (then with `tokenizer`). By default Zipf's law on the
            vocabulary's order.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
            Tells special tokens apart, and the vocabulary from the base's, as for [`fine_mix_`].
        frequency_floor (`int`, *optional*, defaults to 20): Smaller counts are raised to it.
        config ([`FineMixConfig`], *optional*): Of the mixing; says what a base may lack.

    Returns:
        `np.ndarray`: `float64`, shape (vocabulary,); higher is more suspicious, 0 for a token that the base lacks.

    Raises:
        InputError: If the model was mixed before, its word embedding has no pretrained counterpart, or `frequencies`
            does not fit it.
    """
    model = unwrap(model)
    check_model(model)
    check_not_mixed(model)
    twin = pretrained if isinstance(pretrained, Twin) else load_twin(model, pretrained, config, tokenizer)
    if twin.embedding is None:
        raise InputError("`model` has no word embedding with a pretrained counterpart; E-PUR does not apply to it.")
    weight = model.get_input_embeddings().weight
    (check_finite_together if is_sharded(weight) else check_finite)([(twin.embedding, weight)], "model")
    check_finite([(twin.embedding, twin.tensors[twin.embedding])], "pretrained")
    if frequencies is None or isinstance(frequencies, str):
        frequencies = count_tokens(frequencies or "vocabulary", tokenizer, len(weight))
    frequencies = _one_per_row("frequencies", frequencies, len(weight))
    own, base = twin.pair(twin.embedding, whole(weight.detach()))
    # Rows without a counterpart cannot be told apart from it, nor reset to it.
    scores = np.zeros(len(weight))
    scores[: len(own)] = embedding_scores(own, base, frequencies[: len(own)], frequency_floor)
    return scores


@torch.no_grad()
@on_whole(changed=True)
def purify_embeddings_(
    model: PreTrainedModel,
    pretrained: Pretrained | Twin,
    config: FineMixConfig | None = None,
    scores: np.ndarray | None = None,
    *,
    frequencies: np.ndarray | str | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> PurifyReport:
    """
    Resets the `purify_top_k` most suspicious word embeddings to their pretrained rows, in place.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect, or the mixed model if `scores` are given.
        pretrained (`str`, `Path` or [`~transformers.PreTrainedModel`]): The clean weights, as for [`fine_mix_`].
        config ([`FineMixConfig`], *optional*): The settings; defaults to `FineMixConfig()`.
        scores (`np.ndarray`, *optional*):
            From [`score_embeddings`] on the suspect *before* mixing, shape (vocabulary,). Computed if missing, which
            is an error on a model that was mixed: it would score the wrong weights.
        frequencies (`np.ndarray` or `str`, *optional*): As for [`score_embeddings`].
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): Names the tokens in the report.

    Returns:
        [`PurifyReport`]: The rows that were reset, with their scores.

    Raises:
        InputError: If scores are missing on a mixed model or do not fit the vocabulary, or the base does not fit.
    """
    config = config or FineMixConfig()
    model = unwrap(model)
    check_model(model)
    if scores is None and was_mixed(model):
        raise InputError("`scores` is missing, but `model` was mixed before; score the suspect before mixing it.")
    twin = pretrained
    if not isinstance(twin, Twin):
        twin = load_twin(model, pretrained, config, tokenizer)
    if twin.embedding is None or config.purify_top_k == 0:
        return PurifyReport(applicable=twin.embedding is not None, embedding=twin.embedding)
    if scores is None:
        scores = score_embeddings(
            model, twin, frequencies, tokenizer=tokenizer, frequency_floor=config.frequency_floor, config=config
        )
    weight = model.get_input_embeddings().weight
    scores = _one_per_row("scores", scores, len(weight))
    check_finite([(twin.embedding, twin.tensors[twin.embedding])], "pretrained")
    rows = rank_rows(scores[: len(twin.tensors[twin.embedding])])[: config.purify_top_k]
    (reset_rows_here_ if is_sharded(weight) else reset_rows_)(weight.data, twin.tensors[twin.embedding], rows)
    output = model.get_output_embeddings()
    return PurifyReport(
        applicable=True,
        embedding=twin.embedding,
        vocabulary=len(weight),
        tokens=name_tokens(rows, scores, tokenizer),
        tied_output=output is not None and getattr(output, "weight", None) is weight,
    )


def name_tokens(
    rows: np.ndarray, scores: np.ndarray, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[TokenScore, ...]:
    """Turns row ids, highest score first, into a ranking with the tokens' texts."""
    ids = [int(row) for row in rows]
    tokens = tokenizer.convert_ids_to_tokens(ids) if tokenizer is not None else [None] * len(ids)
    return tuple(
        TokenScore(rank, row, token, float(scores[row]))
        for rank, (row, token) in enumerate(zip(ids, tokens, strict=True), start=1)
    )


def _one_per_row(argument: str, values: np.ndarray, rows: int) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (rows,):
        raise InputError(f"`{argument}` has shape {values.shape}, but the vocabulary has {rows} rows.")
    # A row whose score is NaN would be ranked last, and so never be found.
    if np.isnan(values).any():
        raise InputError(f"`{argument}` holds NaN for row {int(np.isnan(values).argmax())}.")
    return values


def count_tokens(source: str, tokenizer: PreTrainedTokenizerBase | None, size: int) -> np.ndarray:
    """
    Returns the count of each token, with or without a tokenizer; see [`~hf_finemix.frequencies.token_frequencies`].

    Args:
        source (`str`): Where the counts come from.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): All sources but `"vocabulary"` need it.
        size (`int`): Number of rows of the word embedding.

    Raises:
        InputError: If the tokenizer is missing, or the source cannot be used.
    """
    if tokenizer is not None:
        return token_frequencies(source, tokenizer, size)
    if source != "vocabulary":
        raise InputError(f"`frequencies` is {source!r}, which needs a `tokenizer`.")
    return vocabulary_rank(size)
