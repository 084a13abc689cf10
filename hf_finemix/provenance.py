"""Where a model that was mixed in memory came from, as far as that can be proved."""

from dataclasses import dataclass, replace

from .errors import InputError
from .hashes import TensorRecord, describe_tensors
from .licenses import stated_license
from .loading import Checkpoint, resolve_checkpoint, without_path
from .manifest import SourceRecord
from .model_loading import load_tokenizer
from .modeling import PurifyReport
from .plan import MixReport
from .recompute import load_pair, mix_again


@dataclass(frozen=True)
class Provenance:
    """
    How a model came to be, up to the end of mixing and embedding purification.

    Args:
        architecture (`str`): Class of transformers that it is.
        suspect (`str`): What it was loaded from: a path, a Hub id or nothing.
        pretrained (`Checkpoint` or `str`): The base's files, or what a model object was loaded from.
        mix (`MixReport`): What was done to each parameter.
        purify (`PurifyReport`): Which embedding rows were reset.
        tensors (`tuple[TensorRecord, ...]`): Each mixed tensor after both.
        frequencies (`str`, *optional*): Source of the token counts, if it is one that has a name.
        weights (`tuple[TensorRecord, ...]`): All parameters after both, mixed or not; empty if nobody will ask.
    """

    architecture: str
    suspect: str
    pretrained: Checkpoint | str
    mix: MixReport
    purify: PurifyReport
    tensors: tuple[TensorRecord, ...]
    frequencies: str | None = None
    weights: tuple[TensorRecord, ...] = ()

    def __post_init__(self):
        if not self.purify.tokens and self.mix.config.purify_top_k:
            # The settings say what was done, not what might have been.
            done = replace(self.mix.config, purify_top_k=0)
            object.__setattr__(self, "mix", replace(self.mix, config=done))


@dataclass(frozen=True)
class Sources:
    """Both inputs of a mixing as the manifest lists them, and the licence that the card of each states."""

    suspect: SourceRecord
    pretrained: SourceRecord
    licenses: dict[str, str | None]

    @classmethod
    def of(cls, suspect: Checkpoint, pretrained: Checkpoint) -> "Sources":
        """Describes two checkpoints; reads all of their files."""
        licenses = {"suspect": stated_license(suspect), "pretrained": stated_license(pretrained)}
        return cls(SourceRecord.of(suspect), SourceRecord.of(pretrained), licenses)


def find_sources(provenance: Provenance) -> Sources:
    """
    Finds the files that a model and its base were loaded from.

    A model object remembers a name, not a commit, and may have been changed since. Its files count as found only if
    mixing them again gives the recorded tensors, bit by bit; otherwise the names alone are given.
    """
    try:
        suspect = _resolve(provenance.suspect)
        pretrained = _resolve(provenance.pretrained)
        if _gives(suspect, pretrained, provenance):
            return Sources.of(suspect, pretrained)
    except InputError:
        # No file or repository of that name is there, or it is another model.
        pass
    named = (SourceRecord(_name(source)) for source in (provenance.suspect, provenance.pretrained))
    return Sources(*named, licenses={"suspect": None, "pretrained": None})


def _resolve(source: Checkpoint | str) -> Checkpoint:
    return source if isinstance(source, Checkpoint) else resolve_checkpoint(source, "model")


def _gives(suspect: Checkpoint, pretrained: Checkpoint, provenance: Provenance) -> bool:
    config = provenance.mix.config
    tokenizer = load_tokenizer(suspect, "model") if config.align_vocabulary else None
    model, twin = load_pair(suspect, pretrained, provenance.architecture, provenance.tensors, config, tokenizer)
    rows = [token.id for token in provenance.purify.tokens]
    names = [record.name for record in provenance.mix.mixed]
    again = mix_again(model, twin, config, names, provenance.purify.embedding, rows)
    return describe_tensors(list(again)) == provenance.tensors


def _name(source: Checkpoint | str) -> str:
    return source.label if isinstance(source, Checkpoint) else without_path(source) or "a model object"
