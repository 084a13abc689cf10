"""`FineMixTrainer`: `Trainer` that mixes and purifies the model before it trains it."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME

from .config import FineMixConfig
from .errors import InputError
from .modeling import PurifyReport, fine_mix_, purify_embeddings_, score_embeddings
from .plan import MixReport
from .training_args import FineMixTrainingArguments
from .twin import Pretrained, load_twin, unwrap


ARGUMENTS_FILE = "training_args.json"


class FineMixTrainer(Trainer):
    """
    A drop-in for [`~transformers.Trainer`]: fine-mixes the suspect, resets suspicious embeddings, then fine-tunes.

    The three steps are those of "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al.,
    Findings of EMNLP 2022). Mixing happens at construction (with `model_init`, whenever a model is made), so that a
    run resumed from a checkpoint equals an uninterrupted one.

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
        if args.push_to_hub and args.hub_strategy != "end":
            raise InputError(
                f"`hub_strategy` is {args.hub_strategy!r}, which would publish half-trained weights; use 'end'."
            )
        self.pretrained = pretrained
        self.mix_report: MixReport | None = None
        self.purify_report: PurifyReport | None = None
        # Needed by `call_model_init`, which `Trainer.__init__` calls before it sets them.
        self.args = args
        self.processing_class = trainer_kwargs.get("processing_class")
        if model is not None:
            self._fine_mix(model)
        super().__init__(model, args, *trainer_args, **trainer_kwargs)
        if args.fsdp and not self.is_fsdp_enabled:
            raise InputError("`fsdp` is set, but FSDP is not active; start the script with `accelerate launch`.")
        if _ignores_item_count(self.model):
            # Otherwise the loss of these models is multiplied by the number of processes.
            args.average_tokens_across_devices = False

    def call_model_init(self, trial: Any = None) -> PreTrainedModel:
        """Makes a model with `model_init` and mixes it."""
        model = super().call_model_init(trial)
        self._fine_mix(model)
        return model

    def _fine_mix(self, model: PreTrainedModel) -> None:
        args = self.args
        if isinstance(args, FineMixTrainingArguments):
            config, source, allow_mixed = args.fine_mix_config(), args.frequencies, args.allow_mixed
        else:
            config, source, allow_mixed = FineMixConfig(seed=args.seed), "vocabulary", False
        tokenizer = self.processing_class if isinstance(self.processing_class, PreTrainedTokenizerBase) else None
        twin = load_twin(unwrap(model), self.pretrained)
        # Scores come from the suspect's own weights, so they are taken before these are mixed. A model that is mixed
        # again has none left to score.
        scores = None
        score = twin.embedding is not None and config.purify_top_k and not (allow_mixed and _was_mixed(model))
        if score:
            scores = score_embeddings(model, twin, source, tokenizer=tokenizer, frequency_floor=config.frequency_floor)
        self.mix_report = fine_mix_(model, twin, config, allow_mixed=allow_mixed)
        if scores is None:
            self.purify_report = PurifyReport(applicable=twin.embedding is not None, embedding=twin.embedding)
        else:
            self.purify_report = purify_embeddings_(model, twin, config, scores, tokenizer=tokenizer)

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
            (folder / ARGUMENTS_FILE).write_text(self.args.to_json_string(), encoding="utf-8")


def _was_mixed(model: PreTrainedModel) -> bool:
    return bool(getattr(unwrap(model).config, "finemix", None))


def _ignores_item_count(model: PreTrainedModel) -> bool:
    # These losses average over the batch whatever `num_items_in_batch` says.
    return type(unwrap(model)).__name__.endswith(("ForSequenceClassification", "ForMultipleChoice"))
