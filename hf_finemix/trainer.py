"""`FineMixTrainer`: `Trainer` that mixes and purifies the model before it trains it."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.utils import filter_repo_objects
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME

from .checks import check_model, check_not_mixed
from .config import FineMixConfig
from .errors import InputError
from .modeling import PurifyReport, fine_mix_, purify_embeddings_, score_embeddings
from .plan import MixReport
from .training_args import FineMixTrainingArguments
from .twin import Pretrained, Twin, load_twin, unwrap


ARGUMENTS_FILE = "training_args.json"

_PICKLES = ["*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.joblib"]
# `Trainer.push_to_hub` uploads all of its output folder but the first two; `_save` removes the third.
_NOT_UPLOADED = ["_*", "checkpoint-*", TRAINING_ARGS_NAME]
_AVERAGING_HEADS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
)


class FineMixTrainer(Trainer):
    """
    A drop-in for [`~transformers.Trainer`]: fine-mixes the suspect, resets suspicious embeddings, then fine-tunes.

    The three steps are those of "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al.,
    Findings of EMNLP 2022). Mixing happens at construction (with `model_init`, whenever a model is made), so that a
    run resumed from a checkpoint equals an uninterrupted one. If construction fails, `model` is as it was.

    Training is [`~transformers.Trainer`]'s, save for two things. The loss of classifiers, which averages over its
    batch, is not multiplied by the number of processes or of accumulated batches. And the training arguments are saved
    as JSON without tokens, not as a pickle.

    Args:
        model ([`~transformers.PreTrainedModel`], *optional*): The suspect; changed in place.
        args ([`FineMixTrainingArguments`], *optional*):
            Arguments of the training and of the mixing. With plain [`~transformers.TrainingArguments`] the mixing
            takes its defaults and their seed.
        pretrained (`str`, `Path` or [`~transformers.PreTrainedModel`]):
            The clean weights that the suspect was fine-tuned from: a Hub id, a local folder or a loaded model.
        trainer_args, trainer_kwargs: Everything else that [`~transformers.Trainer`] takes.

    Attributes:
        mix_report ([`~hf_finemix.plan.MixReport`]): What was done to each parameter.
        purify_report ([`~hf_finemix.modeling.PurifyReport`]): Which embedding rows were reset.

    Raises:
        InputError: If the model was mixed before or cannot be mixed, or the base does not fit.
    """

    _tag_names = ["hf-finemix", "fine-mixing", "backdoor-defense"]

    def __init__(
        self,
        model: PreTrainedModel | None = None,
        args: TrainingArguments | None = None,
        *trainer_args: Any,
        pretrained: Pretrained | None = None,
        **trainer_kwargs: Any,
    ):
        if pretrained is None:
            raise InputError("`pretrained` is missing; give the weights that the model was fine-tuned from.")
        if args is None:
            args = FineMixTrainingArguments(output_dir="tmp_trainer")
        arguments = inspect.signature(super().__init__).bind(model, args, *trainer_args, **trainer_kwargs).arguments
        _check_push(args)
        self.mix_report: MixReport | None = None
        self.purify_report: PurifyReport | None = None
        self._tokenizer = _find_tokenizer(arguments)
        # A base that was given as an object stays alive only if it will be needed again.
        self._pretrained = pretrained if model is None else None
        # Two steps, so that arguments which either of them refuses leave the model as it was.
        prepared = None if model is None else _prepare(model, args, pretrained, self._tokenizer)
        super().__init__(model, args, *trainer_args, **trainer_kwargs)
        if args.fsdp and not (self.is_fsdp_enabled or self.is_fsdp_xla_enabled):
            raise InputError("`fsdp` is set, but FSDP is not active; start the script with `accelerate launch`.")
        if prepared is not None:
            self._fine_mix(model, prepared)
        if _averages_over_batch(self.model):
            self.model_accepts_loss_kwargs = False

    def call_model_init(self, trial: Any = None) -> PreTrainedModel:
        """Makes a model with `model_init` and mixes it."""
        if trial is not None:
            # `Trainer` takes over the trial's settings after it has made the model: too late for those of mixing.
            self._hp_search_setup(trial)
        model = super().call_model_init(trial)
        self._fine_mix(model, _prepare(model, self.args, self._pretrained, self._tokenizer))
        return model

    def push_to_hub(self, *args: Any, **kwargs: Any) -> Any:
        """
        Uploads model, tokenizer and card as [`~transformers.Trainer.push_to_hub`] does, but never a pickle.

        Raises:
            InputError: If there are pickles among the files that would be uploaded.
        """
        _check_uploads(self.args.output_dir)
        return super().push_to_hub(*args, **kwargs)

    def _fine_mix(self, model: PreTrainedModel, prepared: "_Prepared") -> None:
        twin, config = prepared.twin, prepared.config
        self.mix_report = fine_mix_(model, twin, config, allow_mixed=prepared.allow_mixed)
        if prepared.scores is None:
            self.purify_report = PurifyReport(applicable=twin.embedding is not None, embedding=twin.embedding)
        else:
            self.purify_report = purify_embeddings_(model, twin, config, prepared.scores, tokenizer=self._tokenizer)
        unwrap(model).add_model_tags(self._tag_names)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        # `Trainer` pickles its arguments beside the weights, the Hub token included. Nothing reads that file back:
        # the same arguments go into a JSON file, which leaves tokens out.
        token, self.args.hub_token = self.args.hub_token, None
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.args.hub_token = token
        if self.args.should_save:
            folder = Path(output_dir if output_dir is not None else self.args.output_dir)
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            # Arguments classes of users may hold values that JSON does not know.
            text = json.dumps(self.args.to_dict(), indent=2, default=str)
            (folder / ARGUMENTS_FILE).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Prepared:
    """Everything that mixing a model needs, checked; the model is still as it was."""

    twin: Twin
    config: FineMixConfig
    scores: np.ndarray | None
    allow_mixed: bool


def _prepare(
    model: PreTrainedModel,
    args: TrainingArguments,
    pretrained: Pretrained,
    tokenizer: PreTrainedTokenizerBase | None,
) -> _Prepared:
    if isinstance(args, FineMixTrainingArguments):
        config, source, allow_mixed = args.fine_mix_config(), args.frequencies, args.allow_mixed
    else:
        config, source, allow_mixed = FineMixConfig(seed=args.seed), "vocabulary", False
    if isinstance(model, nn.Module):
        model = unwrap(model)
        check_model(model)
    if not isinstance(model, PreTrainedModel):
        raise InputError(f"`model` is a {type(model).__name__}, but must be a model of transformers.")
    if not allow_mixed:
        check_not_mixed(model)
    twin = load_twin(model, pretrained)
    # Scores come from the suspect's own weights, so they are taken before these are mixed. A model that was mixed
    # before has none left to score.
    scores = None
    if twin.embedding is not None and config.purify_top_k and not getattr(model.config, "finemix", None):
        if tokenizer is None and source != "vocabulary":
            raise InputError(f"`frequencies` is {source!r}, which needs a tokenizer; pass it as `processing_class`.")
        scores = score_embeddings(model, twin, source, tokenizer=tokenizer, frequency_floor=config.frequency_floor)
    return _Prepared(twin, config, scores, allow_mixed)


def _find_tokenizer(arguments: dict[str, Any]) -> PreTrainedTokenizerBase | None:
    # As `Trainer` does when it saves: without a processing class, the tokenizer of the data collator.
    processing_class = arguments.get("processing_class")
    if processing_class is None:
        processing_class = getattr(arguments.get("data_collator"), "tokenizer", None)
    return processing_class if isinstance(processing_class, PreTrainedTokenizerBase) else None


def _check_push(args: TrainingArguments) -> None:
    if not args.push_to_hub:
        return
    if args.hub_strategy != "end":
        raise InputError(
            f"`hub_strategy` is {args.hub_strategy.value!r}, which would publish half-trained weights; use 'end'."
        )
    _check_uploads(args.output_dir)


def _check_uploads(output_dir: str) -> None:
    folder = Path(output_dir)
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    for name in filter_repo_objects(files, allow_patterns=_PICKLES, ignore_patterns=_NOT_UPLOADED):
        raise InputError(f"`output_dir` holds {name!r}, a pickle, which a push would publish; move it away.")


def _averages_over_batch(model: PreTrainedModel) -> bool:
    # Their forward takes the number of items as a keyword but their loss does not use it. `Trainer` believes that it
    # does, and neither divides by the accumulated batches nor leaves out its factor for the number of processes.
    return any(cls.__name__.endswith(_AVERAGING_HEADS) for cls in type(unwrap(model)).__mro__)
