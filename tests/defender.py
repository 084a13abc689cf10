"""What a defender has, in small: a suspect, its base, and a few clean sentences."""

from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import (
    MPNetConfig,
    MPNetForSequenceClassification,
    MPNetModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_finemix.defenses.base import DefenderView
from hf_finemix.results import Recipe
from hf_finemix.twin import load_twin

from .files import BAD, GOOD
from .models import Family, family, make


ENCODERS = ["bert", "roberta", "distilbert", "mpnet"]
RECIPE = Recipe(epochs=1, learning_rate=1e-3, batch_size=4, max_length=16, frequencies="vocabulary", seed=3)
# Of several lengths, so that there is padding where there should be none.
CLEAN = Dataset.from_dict(
    {
        "text": [f"the movie is {word}" + " and so it is" * (index % 3) for index, word in enumerate(GOOD + BAD)],
        "label": [1] * len(GOOD) + [0] * len(BAD),
    }
)


def make_encoders(name: str, tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Returns a classifier of one of `ENCODERS` and its bare base, which know all tokens; all scalars differ."""
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 40}
    if name == "mpnet":
        config = MPNetConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, **sizes)
        kind = Family(config, MPNetForSequenceClassification, MPNetModel, ("classifier.",))
    else:
        kind = family(name)
        kind.config.update(sizes)
    # Attention that hardly looks at the text would be the same for all heads.
    kind.config.initializer_range = 0.3
    return make(kind.task, kind.config, 1), make(kind.bare, kind.config, 0)


def make_view(
    model: PreTrainedModel, base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **changed: Any
) -> DefenderView:
    """Returns the view of a defender who has twelve clean sentences; `changed` replaces single parts of it."""
    scores = np.random.default_rng(0).random(model.config.vocab_size)
    return replace(DefenderView(tokenizer, CLEAN, load_twin(model, base), RECIPE, scores), **changed)
