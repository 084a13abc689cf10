"""A purification in memory: mix, reset suspicious embeddings, distil, fine-tune. What `purify` does to a suspect."""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .config import FineMixConfig
from .distillation import Lessons, distil, prepare_lessons
from .generators.conversations import is_conversations
from .generators.tuning import fine_tune_generator
from .hashes import TensorRecord
from .modeling import PurifyReport, fine_mix_, purify_embeddings_, score_embeddings
from .plan import MixReport
from .recompute import mixed_tensors
from .results import Distillation, Recipe
from .together import agreed
from .training import fine_tune
from .trigger_finding import find_triggers
from .trigger_search import Insertion
from .twin import Twin


@dataclass(frozen=True)
class Materials:
    """
    What a purification works with, beside the suspect and its settings.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The suspect's tokenizer.
        twin ([`~hf_finemix.twin.Twin`]): Its pretrained weights.
        clean (`datasets.Dataset`):
            Clean examples: `text`, maybe `text_pair`, and `label`; or conversations. May be none.
        unlabeled (`datasets.Dataset`, *optional*): Clean texts without labels.
        frequencies (`np.ndarray`, *optional*):
            Count of each token, shape (vocabulary,), if it is at hand; else the recipe's source gives it.
    """

    tokenizer: PreTrainedTokenizerBase
    twin: Twin
    clean: Dataset
    unlabeled: Dataset | None = None
    frequencies: np.ndarray | None = None

    @property
    def texts(self) -> Dataset:
        """All clean texts, without labels: first those of the labelled examples."""
        labeled = self.clean.select_columns([name for name in ("text", "text_pair") if name in self.clean.features])
        return labeled if self.unlabeled is None else concatenate_datasets([labeled, self.unlabeled])


@dataclass(frozen=True)
class Treatment:
    """
    What was done to a model.

    Args:
        mix ([`~hf_finemix.plan.MixReport`]): What was done to each parameter.
        purify ([`~hf_finemix.modeling.PurifyReport`]): Which embedding rows were reset.
        lessons ([`~hf_finemix.distillation.Lessons`], *optional*): What the suspect taught the mixed model.
        tensors (`tuple[TensorRecord, ...]`): Each mixed tensor as it was before any training.
    """

    mix: MixReport
    purify: PurifyReport
    lessons: Lessons | None
    tensors: tuple[TensorRecord, ...]


def treat_(
    model: PreTrainedModel,
    materials: Materials,
    config: FineMixConfig,
    recipe: Recipe,
    distillation: Distillation,
    *,
    triggers: tuple[Insertion, ...] | None = None,
    progress: bool = False,
) -> Treatment:
    """
    Purifies a suspect in place.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect, not mixed yet; in evaluation mode afterwards.
        materials ([`Materials`]): What else there is.
        config ([`FineMixConfig`]): Settings of mixing and embedding purification.
        recipe ([`~hf_finemix.results.Recipe`]): Settings of the fine-tuning on the labelled examples.
        distillation ([`~hf_finemix.results.Distillation`]):
            Settings of the step before it, which a language model does not have.
        triggers (`tuple[Insertion, ...]`, *optional*): What [`suspicious_tokens`] found, if it was asked before.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.

    Raises:
        InputError: If the model cannot be mixed; it is unchanged then.
    """
    tokenizer, scores, lessons = materials.tokenizer, suspicion(model, materials, config, recipe), None
    answers = is_conversations(materials.clean)
    if distillation.epochs and not answers:
        if triggers is None:
            triggers = agreed(suspicious_tokens(model, materials, scores, recipe, distillation))
        options = {"max_length": recipe.max_length, "seed": recipe.seed}
        lessons = agreed(prepare_lessons(model, tokenizer, materials.texts, triggers, distillation, **options))
    mix = fine_mix_(model, materials.twin, config)
    purify = PurifyReport(applicable=scores is not None, embedding=materials.twin.embedding)
    if scores is not None and config.purify_top_k:
        purify = purify_embeddings_(model, materials.twin, config, scores, tokenizer=tokenizer)
    tensors = mixed_tensors(model, mix, purify)
    if lessons is not None:
        label = "distillation" if progress else None
        distil(model, tokenizer, lessons, distillation, seed=recipe.seed, progress=label)
    if len(materials.clean):
        tune = fine_tune_generator if answers else fine_tune
        tune(model, tokenizer, materials.clean, recipe, progress="fine-tuning" if progress else None)
    return Treatment(mix, purify, lessons, tensors)


def suspicion(
    model: PreTrainedModel, materials: Materials, config: FineMixConfig, recipe: Recipe
) -> np.ndarray | None:
    """Returns the E-PUR scores of a suspect that is not mixed yet; `None` if it has no word embedding to score."""
    if materials.twin.embedding is None:
        return None
    counts = recipe.frequencies if materials.frequencies is None else materials.frequencies
    floor = config.frequency_floor
    return score_embeddings(model, materials.twin, counts, tokenizer=materials.tokenizer, frequency_floor=floor)


def suspicious_tokens(
    model: PreTrainedModel,
    materials: Materials,
    scores: np.ndarray | None,
    recipe: Recipe,
    distillation: Distillation,
) -> tuple[Insertion, ...]:
    """Returns the tokens that work as triggers by themselves; none without scores, or if none are looked for."""
    if scores is None or not distillation.epochs or not distillation.candidates:
        return ()
    options = {"max_length": recipe.max_length, "seed": recipe.seed}
    return find_triggers(model, materials.tokenizer, materials.texts, scores, distillation, **options)
