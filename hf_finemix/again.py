"""A purification up to its fine-tuning, done again from its inputs and compared with what was recorded."""

import json
import math
from typing import Any

import numpy as np
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from .errors import InputError
from .generation_settings import strange_settings
from .hashes import describe_tensors
from .loading import Checkpoint, resolve_checkpoint
from .manifest import Manifest
from .model_loading import load_tokenizer
from .modeling import plan, score_embeddings
from .publishable import GENERATION_FILE
from .published import PublishedFolder
from .recompute import load_pair, mix_again, named_tensors
from .reset_checks import reset_checks
from .suspect_files import read_json_object
from .verification import DIFFERENT, SAME, Check


# Special tokens that decide on what a model reads.
_MEANT = ("bos", "eos", "unk", "sep", "cls", "mask")


class Again:
    """The mixing, done again from its inputs and compared tensor by tensor with manifest and output."""

    def __init__(self, manifest: Manifest, suspect: Checkpoint, pretrained: Checkpoint):
        self.manifest, self.suspect = manifest, suspect
        self.tokenizer = load_tokenizer(suspect, "--suspect") if suspect.has_tokenizer else None
        # Without it, rows of the same number are pairs.
        tokenizer = self.tokenizer if manifest.config.align_vocabulary else None
        self.model, self.twin = load_pair(
            suspect, pretrained, manifest.architecture, manifest.mixed_tensors, manifest.config, tokenizer
        )

    def tensor_checks(self, published: PublishedFolder) -> tuple[list[Check], float | None]:
        """Returns a line for each mixed tensor, and how far the output is from all of them."""
        manifest, suspect = self.manifest, named_tensors(self.model)
        records = {record.name: record for record in manifest.mixed_tensors}
        mixed = [record.name for record in plan(self.model, self.twin, manifest.config).mixed]
        checks, after, distance = [], 0.0, 0.0
        again = mix_again(self.model, self.twin, manifest.config, mixed, manifest.embedding, manifest.purified_rows)
        for name, values in again:
            # A tensor that is not in the list would have kept its value in secret.
            record = records.pop(name, None)
            note = "not in the manifest" if record is None else ""
            is_same = describe_tensors([(name, values)]) == (record,)
            checks.append(Check("mixed tensor", name, SAME if is_same else DIFFERENT, note))
            output = published.tensor(name)
            comparable = output is not None and output.shape == values.shape
            after += float((output.double() - values.double()).square().sum()) if comparable else math.nan
            own, base = self.twin.pair(name, suspect[name])
            distance += float((own.double() - base.double()).square().sum())
        note = "by its settings, or for want of a counterpart, it cannot have been mixed"
        checks += [Check("mixed tensor", name, DIFFERENT, note) for name in records]
        moved = math.sqrt(after / distance) if distance else math.nan
        return checks, moved if math.isfinite(moved) else None

    def others_are_the_suspects(self, published: PublishedFolder) -> bool:
        """Tells whether all parameters that were not mixed are in the output as they are in the suspect."""
        mixed = {record.name for record in self.manifest.mixed_tensors}
        others = [(name, tensor) for name, tensor in named_tensors(self.model).items() if name not in mixed]
        outputs = [(name, published.tensor(name)) for name, _ in others]
        if any(tensor is None for _, tensor in outputs):
            return False
        return describe_tensors(others) == describe_tensors(outputs)

    def config_checks(self, published: PublishedFolder) -> list[Check]:
        """Returns whether labels and tokenizer are the suspect's."""
        return config_checks(published, self.manifest.architecture, self.suspect, self.tokenizer)

    def row_checks(self) -> list[Check]:
        """Returns whether the rows that were reset are the most suspicious ones."""
        manifest, twin = self.manifest, self.twin
        vocabulary = 0 if twin.embedding is None else len(twin.tensors[twin.embedding])
        floor = manifest.config.frequency_floor

        def scores(tokenizer: PreTrainedTokenizerBase | None) -> np.ndarray:
            return score_embeddings(self.model, twin, manifest.frequencies, tokenizer=tokenizer, frequency_floor=floor)

        return reset_checks(manifest, twin.embedding, vocabulary, self.tokenizer, scores)


def config_checks(
    published: PublishedFolder, architecture: str, suspect: Checkpoint, tokenizer: PreTrainedTokenizerBase | None
) -> list[Check]:
    """
    Compares what decides on answers as the weights do.

    Args:
        published ([`~hf_finemix.published.PublishedFolder`]): The output.
        architecture (`str`): Class of transformers that it should be.
        suspect ([`~hf_finemix.loading.Checkpoint`]): The suspect, whose labels it should have.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): Its tokenizer.
    """
    try:
        output = resolve_checkpoint(published.folder, "MODEL")
    except InputError as error:
        return [Check("configuration", "labels", DIFFERENT, str(error))]
    names = [_label_names(checkpoint.config) for checkpoint in (output, suspect)]
    is_right = names[0] == names[1] and output.config.get("architectures") == [architecture]
    note = "" if is_right else "architecture or label names are not those of suspect and manifest"
    checks = [Check("configuration", "labels", SAME if is_right else DIFFERENT, note), *_generation_checks(published)]
    if not output.has_tokenizer or tokenizer is None:
        return checks
    try:
        is_same = _tokenizer_state(load_tokenizer(output, "MODEL")) == _tokenizer_state(tokenizer)
    except InputError as error:
        return [*checks, Check("configuration", "tokenizer", DIFFERENT, str(error))]
    note = "" if is_same else "it is another than the suspect's"
    return [*checks, Check("configuration", "tokenizer", SAME if is_same else DIFFERENT, note)]


def _label_names(config: dict[str, Any]) -> dict[int, str] | None:
    # A configuration that names no labels has the usual ones, as many as it says.
    known = {key: config[key] for key in ("id2label", "num_labels") if key in config}
    try:
        return dict(PreTrainedConfig(**known).id2label)
    except Exception:  # a stranger's values can fail in any way
        return None


def _tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> Any:
    # What pads is a matter of training, and what is said in a chat is not.
    others = [tokenizer.chat_template, *(getattr(tokenizer, f"{name}_token") for name in _MEANT)]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer.get_vocab(), others
    state = json.loads(backend.to_str())
    # Left over from the last call, and set again at each.
    return {key: value for key, value in state.items() if key not in ("truncation", "padding")}, others


def _generation_checks(published: PublishedFolder) -> list[Check]:
    path = published.folder / GENERATION_FILE
    if not path.is_file():
        return []
    try:
        strange = strange_settings(read_json_object(path, "MODEL"))
    except InputError as error:
        return [Check("configuration", GENERATION_FILE, DIFFERENT, str(error))]
    note = f"it has a say in what is said: {', '.join(strange[:5])}" if strange else ""
    return [Check("configuration", GENERATION_FILE, DIFFERENT if strange else SAME, note)]
