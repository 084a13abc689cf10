"""`FineMixMixin`: mixing and purification as methods of any `PreTrainedModel`."""

import os
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .config import FineMixConfig
from .errors import InputError
from .modeling import PurifyReport, fine_mix_, purify_embeddings_, score_embeddings
from .plan import MixReport
from .twin import Pretrained


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
    >>> model.save_pretrained("purified")
    ```
    """

    def fine_mix_(
        self, pretrained: Pretrained, config: FineMixConfig | None = None, *, allow_mixed: bool = False
    ) -> MixReport:
        """Mixes the model with its pretrained weights, in place; see [`~hf_finemix.fine_mix_`]."""
        return fine_mix_(self, pretrained, config, allow_mixed=allow_mixed)

    def score_embeddings(self, pretrained: Pretrained, frequencies: Any = None, **kwargs: Any) -> Any:
        """Scores the word embeddings before mixing; see [`~hf_finemix.score_embeddings`]."""
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
        return purify_embeddings_(self, pretrained, config, scores, frequencies=frequencies, tokenizer=tokenizer)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Saves the model as its original architecture; takes what `PreTrainedModel.save_pretrained` takes."""
        # transformers writes the name of the class into config.json, and a class of one's own would be unknown to
        # whoever loads the folder. A name is looked up on the class only, so it is lent to the class for the call.
        cls = type(self)
        name, cls.__name__ = cls.__name__, original_architecture(cls).__name__
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            cls.__name__ = name


def original_architecture(cls: type) -> type[PreTrainedModel]:
    """
    Returns the class of transformers that a mixin class was made from.

    Raises:
        InputError: If `cls` does not derive from one.
    """
    for base in cls.__mro__:
        if issubclass(base, PreTrainedModel) and base.__module__.startswith("transformers."):
            return base
    raise InputError(f"`{cls.__name__}` derives from no model class of transformers; list one after FineMixMixin.")
