"""One sentence on the suspect and on the purified model, with and without a trigger."""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ..attacks.trigger import Trigger
from ..data import tokenize
from ..errors import InputError
from ..evaluation import compute_logits
from ..labels import label_names
from ..loading import Checkpoint, resolve_checkpoint
from ..model_loading import load_classifier, load_tokenizer
from .markup import escape
from .sessions import Purified


_LONGEST_TEXT = 5000
_MOST_LABELS = 5


@dataclass(frozen=True)
class Tried:
    """
    One text on both models.

    Args:
        text (`str`): The text.
        mark (`tuple[int, int]`, *optional*): Where the trigger is in it.
        suspect (`np.ndarray`): Probability of each label by the suspect, shape (labels,).
        purified (`np.ndarray`): The same by the purified model.
    """

    text: str
    mark: tuple[int, int] | None
    suspect: np.ndarray
    purified: np.ndarray


def compare(purified: Purified, text: str, pair: str, trigger: str, place: str) -> str:
    """
    Tries a sentence on both models.

    Args:
        purified ([`~hf_finemix.app.sessions.Purified`]): The purified model, and what it was made from.
        text (`str`): The sentence.
        pair (`str`): The second sentence, for models of pairs; may be empty.
        trigger (`str`): Word or sentence to insert; may be empty.
        place (`str`): Where: `"start"`, `"end"` or `"random"`.

    Returns:
        `str`: HTML.

    Raises:
        InputError: If there is no sentence, or one that is too long.
    """
    for name, value in (("Sentence", text), ("Second sentence", pair), ("Trigger", trigger)):
        if len(value or "") > _LONGEST_TEXT:
            raise InputError(f"{name} is longer than {_LONGEST_TEXT:,} characters; give a shorter one.")
    if not (text or "").strip():
        raise InputError("Sentence is empty; write one.")
    texts: list[tuple[str, tuple[int, int] | None]] = [(text, None)]
    if (trigger or "").strip():
        # The target label plays no part in where it goes.
        with_trigger = Trigger(trigger.strip(), 0, place).insert(text, 0)
        texts.append((with_trigger, find_mark(text, trigger.strip(), with_trigger)))
    columns = {"text": [item[0] for item in texts]}
    if (pair or "").strip():
        columns["text_pair"] = [pair] * len(texts)
    examples = Dataset.from_dict(columns)
    sources = (find_files(purified.suspect), resolve_checkpoint(purified.folder, "The purified model"))
    answers = [probabilities(source, examples, purified.max_length) for source in sources]
    tried = [Tried(*item, *(answer[row] for answer in answers)) for row, item in enumerate(texts)]
    return "".join(_show(item, label_names(purified.suspect.config)) for item in tried)


def find_files(suspect: Checkpoint) -> Checkpoint:
    """Returns the suspect's files, fetched again if a hub-only app has removed them meanwhile."""
    if suspect.folder.is_dir() or suspect.repo_id is None:
        return suspect
    return resolve_checkpoint(f"{suspect.repo_id}@{suspect.commit}", "Suspect")


def probabilities(checkpoint: Checkpoint, examples: Dataset, max_length: int) -> np.ndarray:
    """Returns the probability of each label for each text, shape (texts, labels)."""
    model, tokenizer = load_classifier(checkpoint, "The model"), load_tokenizer(checkpoint, "The model")
    logits = compute_logits(model, tokenizer, tokenize(examples, tokenizer, max_length).to_dict(), desc="comparing")
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def find_mark(text: str, trigger: str, triggered: str) -> tuple[int, int]:
    """Returns where the trigger stands in a text that it was put into: start and end."""
    for start in range(len(triggered) - len(trigger) + 1):
        end = start + len(trigger)
        rests = (triggered[:start] + triggered[end + 1 :], triggered[: max(start - 1, 0)] + triggered[end:])
        if triggered[start:end] == trigger and text in rests:
            return start, end
    raise ValueError("the trigger is not in the text")


def _show(tried: Tried, labels: tuple[str, ...]) -> str:
    heading = "Without the trigger" if tried.mark is None else "With the trigger"
    if tried.mark is None:
        shown = escape(tried.text, _LONGEST_TEXT)
    else:
        start, end = tried.mark
        parts = [escape(part, _LONGEST_TEXT) for part in (tried.text[:start], tried.text[start:end], tried.text[end:])]
        shown = f"{parts[0]}<mark>{parts[1]}</mark>{parts[2]}"
    # Of many labels, those that one of the models holds likely.
    order = np.sort(np.argsort(-np.maximum(tried.suspect, tried.purified), kind="stable")[:_MOST_LABELS])
    names = [labels[number] if number < len(labels) else str(number) for number in order]
    head = "".join(f'<th scope="col" class="number">{escape(name)}</th>' for name in names)
    rows = ""
    for name, found in (("Suspect", tried.suspect), ("Purified", tried.purified)):
        cells = "".join(_cell(float(found[number]), number == found.argmax()) for number in order)
        rows += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    return (
        f'<section class="tried"><h3>{heading}</h3><blockquote>{shown}</blockquote>'
        f'<div class="scrolls" role="region" tabindex="0" aria-label="{heading}: probabilities"><table>'
        f"<caption>Probability of each label</caption><thead><tr><th scope='col'>Model</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _cell(probability: float, is_chosen: bool) -> str:
    shown = f"{100 * probability:.1f} %"
    if is_chosen:
        # Not by weight alone: whoever hears the page has to hear it, too.
        shown = f'<strong>{shown}</strong> <span class="chosen">chosen</span>'
    return f'<td class="number">{shown}</td>'
