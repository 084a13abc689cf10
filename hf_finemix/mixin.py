"""`FineMixMixin`: mixing and purification as methods of any `PreTrainedModel`."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from .card import DefenseCard
from .card_metadata import listed
from .config import FineMixConfig
from .errors import InputError
from .evidence import saved_files, saved_tokenizer, write_evidence
from .frequencies import source_name
from .job_report import mixin_report
from .loading import Checkpoint, resolve_checkpoint
from .manifest import Manifest
from .modeling import PurifyReport, fine_mix_, purify_embeddings_, score_embeddings
from .plan import MixReport
from .provenance import Provenance, find_sources
from .publishing import Published, publish
from .recompute import all_tensors, mixed_tensors
from .report import Evaluation
from .twin import Pretrained, original_architecture, word_embedding_name


class FineMixMixin:
    """
    Adds Fine-mixing and embedding purification to a model class of transformers.

    What the subclass saves loads with plain transformers, under the name of the original architecture.

    Example:

    ```python
    >>> class Purifiable(FineMixMixin, BertForSequenceClassification):
    ...     pass

    >>> model = Purifiable.from_pretrained("someone/suspect")
    >>> scores = model.score_embeddings("google-bert/bert-base-uncased")
    >>> report = model.fine_mix_("google-bert/bert-base-uncased")
    >>> purified = model.purify_embeddings_("google-bert/bert-base-uncased", scores=scores)
    >>> model.push_to_hub("me/purified", tokenizer=tokenizer)
    ```
    """

    # What is known about the mixing, for report and card; not saved with the model.
    _provenance: Provenance | None = None
    _frequencies: str | None = None
    _floor: int = FineMixConfig().frequency_floor
    _reset_too_early: bool = False

    def fine_mix_(
        self,
        pretrained: Pretrained,
        config: FineMixConfig | None = None,
        *,
        allow_mixed: bool = False,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> MixReport:
        """Mixes the model with its pretrained weights, in place; see [`~hf_finemix.fine_mix_`]."""
        suspect = self.name_or_path
        if isinstance(pretrained, (str, Path)):
            # Once, so that the commit which is mixed is also the one that report and card name.
            pretrained = resolve_checkpoint(pretrained, "`pretrained`")
        report = fine_mix_(self, pretrained, config, allow_mixed=allow_mixed, tokenizer=tokenizer)
        self._provenance = Provenance(
            architecture=original_architecture(type(self)).__name__,
            suspect=suspect,
            pretrained=pretrained if isinstance(pretrained, Checkpoint) else pretrained.name_or_path,
            mix=report,
            purify=PurifyReport(applicable=word_embedding_name(self) is not None),
            tensors=mixed_tensors(self, report),
            weights=all_tensors(self),
        )
        return report

    def score_embeddings(self, pretrained: Pretrained, frequencies: Any = None, **kwargs: Any) -> Any:
        """Scores the word embeddings before mixing; see [`~hf_finemix.score_embeddings`]."""
        self._frequencies, self._floor = _source(frequencies), kwargs.get("frequency_floor", self._floor)
        return score_embeddings(self, pretrained, frequencies, **kwargs)

    def purify_embeddings_(
        self,
        pretrained: Pretrained,
        config: FineMixConfig | None = None,
        scores: Any = None,
        *,
        frequencies: Any = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> PurifyReport:
        """Resets the most suspicious word embeddings, in place; see [`~hf_finemix.purify_embeddings_`]."""
        report = purify_embeddings_(self, pretrained, config, scores, frequencies=frequencies, tokenizer=tokenizer)
        if self._provenance is None:
            self._reset_too_early = True
        else:
            known, used = self._provenance, config or FineMixConfig()
            floor = used.frequency_floor if scores is None else self._floor
            settings = replace(known.mix.config, purify_top_k=used.purify_top_k, frequency_floor=floor)
            self._provenance = replace(
                known,
                mix=replace(known.mix, config=settings),
                purify=report,
                tensors=mixed_tensors(self, known.mix, report),
                weights=all_tensors(self),
                frequencies=_source(frequencies) if scores is None else self._frequencies,
            )
        return report

    def push_to_hub(
        self,
        repo_id: str,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        evaluations: dict[str, Evaluation] | None = None,
        license: str | None = None,
        language: str | None = None,
        tags: list[str] | None = None,
        max_shard_size: int | str = "50GB",
        **options: Any,
    ) -> Published:
        """
        Publishes the model with defence card, report and manifest, in one commit.

        Args:
            repo_id (`str`): Hub id.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): Published beside the model.
            evaluations (`dict[str, Evaluation]`, *optional*):
                Figures by model, from [`~hf_finemix.evaluate_model`]: `"suspect"`, `"purified"`, `"clean model"`.
            license, language, tags: What the card states.
            max_shard_size (`int` or `str`, *optional*, defaults to `"50GB"`): Largest file of weights.
            options: What else [`~hf_finemix.publish`] takes.

        Returns:
            [`~hf_finemix.publishing.Published`]: Repository and commit.

        Raises:
            InputError: If the model was not mixed in this process, or cannot be published.
            RuntimeError: If the Hub does not answer.
        """
        if self._provenance is None:
            raise InputError(
                "The model was not mixed in this process, so that nothing is known for a defence card; call "
                "`fine_mix_` first (with `keep_ratio=1` if only embeddings are to be reset)."
            )
        if self._reset_too_early:
            raise InputError(
                "Embeddings were reset before the model was mixed, which nobody could verify; call "
                "`score_embeddings`, `fine_mix_` and `purify_embeddings_` in this order."
            )
        with tempfile.TemporaryDirectory(prefix="finemix-") as temporary:
            folder = Path(temporary)
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            files = saved_files(folder)
            if tokenizer is not None:
                files |= saved_tokenizer(tokenizer, folder)
            sources = find_sources(self._provenance)
            report = mixin_report(self, self._provenance, sources, evaluations)
            known = self._provenance
            manifest = Manifest.of(report, sources.suspect, sources.pretrained, known.tensors, known.frequencies)
            card = DefenseCard(report, repo_id.split("/")[-1], None, license, language, listed(tags))
            # Nobody looks into this folder; `hf-finemix report` makes a page of what is published.
            write_evidence(folder, card, manifest, files, page=False)
            return publish(folder, repo_id, **options)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """
        Saves the model as its original architecture; takes what `PreTrainedModel.save_pretrained` takes.

        Raises:
            InputError: If it is to publish the model at the same time, which would leave out card and manifest.
        """
        if kwargs.get("push_to_hub"):
            raise InputError("`save_pretrained` does not publish; call `push_to_hub`, which writes card and manifest.")
        # transformers writes the name of the class into config.json, and a class of one's own would be unknown to
        # whoever loads the folder. A name is looked up on the class only, so it is lent to the class for the call.
        cls = type(self)
        name, cls.__name__ = cls.__name__, original_architecture(cls).__name__
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            cls.__name__ = name


def _source(frequencies: Any) -> str | None:
    """Returns the name of a source of token counts, `None` for counts that come as an array."""
    return source_name(frequencies) if isinstance(frequencies, str) else "vocabulary" if frequencies is None else None
