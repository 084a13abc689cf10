"""Trigger search: put single tokens into clean texts and count how often the prediction flips to one label."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .config import check_integer
from .data import DEFAULT_MAX_LENGTH
from .errors import InputError
from .evaluation import evaluation_mode, longest_input
from .insertion import Insertion
from .progress import Bar
from .rates import Rate


_BATCH_SIZE = 64
Inputs = Mapping[str, Sequence[int]]


def insert_ids(inputs: Inputs, inserted: Sequence[int], place: int) -> dict[str, list[int]]:
    """
    Inserts token ids into the inputs of one text.

    Args:
        inputs (`Mapping[str, Sequence[int]]`): What a tokenizer gives for one text: `input_ids`, and other inputs of
            the same length.
        inserted (`Sequence[int]`): The token ids.
        place (`int`): Where they go: before the token of this number, from 0 to the number of tokens.

    Returns:
        `dict[str, list[int]]`: New inputs. The inserted tokens get the attention mask, the token type and so on of the
        token before them (at place 0: of the first one).
    """
    before = max(place - 1, 0)
    return {
        name: [*row[:place], *(inserted if name == "input_ids" else [row[before]] * len(inserted)), *row[place:]]
        for name, row in inputs.items()
    }


def search_triggers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    ids: Sequence[int],
    *,
    max_length: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[Insertion, ...]:
    """
    Inserts each token into each text and counts how often the prediction flips to one label.

    A token goes into the tokenised text as it is, so that word pieces can be tried too: at a random place between the
    special tokens of the (first) text, the same for all tokens. Nothing needs to be known of a trigger; one that
    consists of several tokens is found only as far as one of them works alone.

    Args:
        model (`PreTrainedModel`): A classifier with one label per text. It runs in evaluation mode on its own device
            and is left as it was.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer, with a padding token.
        texts (`datasets.Dataset`): Clean texts: the columns `text` and maybe `text_pair`; labels are not looked at.
        ids (`Sequence[int]`): Ids of the tokens to try.
        max_length (`int`, *optional*): Longest input in tokens, with the inserted one; longer texts are cut short.
            Defaults to 512, and is lowered to what tokenizer and model can take.
        seed (`int`, *optional*, defaults to 0): Seed of the places, at least 0. The place in a text depends on the
            seed and on the number of the text alone.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a progress bar on standard error.

    Returns:
        `tuple[Insertion, ...]`: One record for each id, best first: in the order of the lower ends of the 95 %
        intervals of the flips, so that three of three texts do not go before 97 of 100; equal ones in the order of
        `ids`. By the same measure, each is for the label to which its token flips most.

    Raises:
        InputError: If there are no texts, the model does not give one of several labels, an id has no row in its
            embedding, `max_length` leaves no room, `seed` is out of range, or the tokenizer cannot pad.
        RuntimeError: If the model gives logits that are not finite.
    """
    check_integer("seed", seed, 0)
    labels = check_classifier(model, tokenizer, texts)
    rows = len(model.get_input_embeddings().weight)
    for token in ids:
        if not 0 <= token < rows:
            raise InputError(f"`ids` holds {token}, but the embedding of `model` has {rows} rows.")
    if not len(ids):
        return ()
    spots = place_tokens(texts, tokenizer, model, max_length, seed)
    # Longest first: batches need little padding, and a lack of memory shows at once.
    spots.sort(key=lambda spot: len(spot[0]["input_ids"]), reverse=True)
    with Bar(len(spots) * (1 + len(ids)), "trigger search", progress) as bar:
        without = _predict(model, tokenizer, (row for row, _ in spots), bar)
        longer = (insert_ids(row, [token], place) for row, place in spots for token in ids)
        with_token = _predict(model, tokenizer, longer, bar).reshape(len(spots), len(ids))
    found = [_most_flips(without, column, labels) for column in with_token.T]
    names = tokenizer.convert_ids_to_tokens([int(token) for token in ids])
    ranking = sorted(range(len(ids)), key=lambda column: _least(found[column][1]), reverse=True)
    return tuple(Insertion(names[column], int(ids[column]), *found[column]) for column in ranking)


def check_classifier(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Dataset) -> int:
    """
    Checks that a model predicts one of several labels, and can do so for batches of texts; returns how many labels.

    Raises:
        InputError: If it does not, there are no texts, or the tokenizer cannot pad.
    """
    kind = getattr(model.config, "problem_type", None)
    if model.config.num_labels < 2 or kind in ("regression", "multi_label_classification"):
        raise InputError(
            f"`model` is no single-label classifier ({kind or 'one output'}), so that no prediction can flip."
        )
    if not len(texts):
        raise InputError("`texts` is empty; give some clean texts.")
    if tokenizer.pad_token is None:
        raise InputError("`tokenizer` has no padding token; set one that the model knows.")
    return model.config.num_labels


def place_tokens(
    texts: Dataset, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, max_length: int | None, seed: int
) -> list[tuple[Inputs, int]]:
    """
    Returns the inputs of each text, with room for one more token, and the place where that goes.

    Raises:
        InputError: If `max_length` leaves no room.
    """
    pairs = list(texts["text_pair"]) if "text_pair" in texts.column_names else None
    if max_length is not None:
        # Room for one token of the text and for the inserted one.
        check_integer("max_length", max_length, tokenizer.num_special_tokens_to_add(pairs is not None) + 2)
    limit = longest_input(max_length or DEFAULT_MAX_LENGTH, tokenizer, model)
    columns = dict(
        tokenizer(list(texts["text"]), pairs, truncation=True, max_length=limit - 1, return_special_tokens_mask=True)
    )
    spots = []
    for number, special in enumerate(columns.pop("special_tokens_mask")):
        start, end = _first_run(special)
        place = int(np.random.default_rng((seed, number)).integers(start, end, endpoint=True))
        spots.append(({name: rows[number] for name, rows in columns.items()}, place))
    return spots


def _first_run(special: Sequence[int]) -> tuple[int, int]:
    """Returns start and end of the first tokens that are not special; a text may have none."""
    start = list(special).index(0) if 0 in special else min(1, len(special))
    end = next((number for number in range(start, len(special)) if special[number]), len(special))
    return start, end


def _predict(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, inputs: Iterator[Inputs], bar: Bar
) -> np.ndarray:
    """Returns the predicted labels; inputs are made batch by batch, since there may be many."""
    predictions = []
    with evaluation_mode(model), torch.inference_mode():
        while rows := list(islice(inputs, _BATCH_SIZE)):
            batch = tokenizer.pad({name: [row[name] for row in rows] for name in rows[0]}, return_tensors="pt")
            logits = model(**batch.to(model.device)).logits
            # The largest of NaNs is some label: a broken model would look like one without a trigger.
            if not torch.isfinite(logits).all():
                raise RuntimeError("The model gives logits that are not finite; its weights are damaged.")
            predictions.append(logits.argmax(dim=-1).cpu().numpy())
            bar.update(len(rows))
    return np.concatenate(predictions)


def _most_flips(without: np.ndarray, with_token: np.ndarray, labels: int) -> tuple[int, Rate]:
    """Returns the label to which most predictions flip, with their rate."""
    rates = []
    for label in range(labels):
        others = without != label
        rates.append(Rate(int((with_token[others] == label).sum()), int(others.sum())))
    # Of equal labels the first one.
    best = max(range(labels), key=lambda label: _least(rates[label]))
    return best, rates[best]


def _least(rate: Rate) -> float:
    return -1.0 if rate.low is None else rate.low
