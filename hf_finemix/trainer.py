"""`FineMixTrainer`: `Trainer` that mixes and purifies the model before it trains it."""

import inspect
import json
import re
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from peft import PeftConfig
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .adapter_training import add_adapter, is_adapted, merged_copy
from .card import DefenseCard
from .card_metadata import TAGS, listed
from .errors import InputError
from .evidence import saved_files, saved_tokenizer, write_evidence
from .hub_errors import hub_errors, retried
from .job_report import trainer_report
from .loading import Checkpoint, resolve_checkpoint
from .manifest import Manifest
from .modeling import PurifyReport, fine_mix_, purify_embeddings_
from .partitions import gathered
from .plan import MixReport
from .preparation import Prepared, find_tokenizer, prepare
from .provenance import Provenance, find_sources
from .publishing import Published, publish
from .recompute import all_tensors, mixed_tensors
from .report import Evaluation
from .trainer_checks import check_arguments, check_sharing
from .training import averages_over_batch
from .training_args import FineMixTrainingArguments
from .twin import Pretrained, original_architecture, unwrap


ARGUMENTS_FILE = "training_args.json"
_CHECKPOINT = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-\d+")


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
        peft_config (`peft.PeftConfig`, *optional*):
            Train a fresh adapter on the mixed model instead of all weights. Checkpoints hold the adapter alone, for
            resuming, where the same mixing comes first; `save_model` merges it, so that the output is a whole model.
            With it, a construction that fails after the checks leaves a mixed model.
        trainer_args, trainer_kwargs: Everything else that [`~transformers.Trainer`] takes.

    Attributes:
        mix_report ([`~hf_finemix.plan.MixReport`], *optional*):
            What was done to each parameter; `None` in a process that is given its weights by another (FSDP with
            `cpu_ram_efficient_loading`).
        purify_report ([`~hf_finemix.modeling.PurifyReport`]): Which embedding rows were reset.
        provenance ([`~hf_finemix.provenance.Provenance`]): Both, and sha256 of each mixed tensor; on the main process.

    Raises:
        InputError: If the model was mixed before or cannot be mixed, or the base does not fit.
    """

    _tag_names = list(TAGS)

    def __init__(
        self,
        model: PreTrainedModel | None = None,
        args: TrainingArguments | None = None,
        *trainer_args: Any,
        pretrained: Pretrained | None = None,
        peft_config: PeftConfig | None = None,
        **trainer_kwargs: Any,
    ):
        if pretrained is None:
            raise InputError("`pretrained` is missing; give the weights that the model was fine-tuned from.")
        if args is None:
            args = FineMixTrainingArguments(output_dir="tmp_trainer")
        arguments = inspect.signature(super().__init__).bind(model, args, *trainer_args, **trainer_kwargs).arguments
        check_arguments(args, peft_config)
        self._peft_config = peft_config
        if isinstance(pretrained, (str, Path)):
            # Once, so that the commit which is mixed is also the one that report and card name.
            pretrained = resolve_checkpoint(pretrained, "`pretrained`")
        self.mix_report: MixReport | None = None
        self.purify_report: PurifyReport | None = None
        self.provenance: Provenance | None = None
        self._saved_at: int | None = None
        self._tokenizer = find_tokenizer(arguments)
        # A base that was given as an object stays alive only if it will be needed again.
        self._pretrained = pretrained if model is None or isinstance(pretrained, Checkpoint) else None
        # Two steps, so that arguments which either of them refuses leave the model as it was.
        prepared = None if model is None else prepare(model, args, pretrained, self._tokenizer)
        if model is not None and peft_config is not None:
            # `Trainer` has to see the adapter.
            if prepared is not None:
                self._fine_mix(model, prepared, pretrained, args)
            model, prepared = add_adapter(model, peft_config), None
        super().__init__(model, args, *trainer_args, **trainer_kwargs)
        check_sharing(self)
        if prepared is not None:
            self._fine_mix(model, prepared, pretrained, args)
        if averages_over_batch(self.model):
            self.model_accepts_loss_kwargs = False

    def call_model_init(self, trial: Any = None) -> PreTrainedModel:
        """Makes a model with `model_init` and mixes it."""
        if trial is not None:
            # `Trainer` takes over the trial's settings after it has made the model: too late for those of mixing.
            self._hp_search_setup(trial)
        model = super().call_model_init(trial)
        prepared = prepare(model, self.args, self._pretrained, self._tokenizer)
        if prepared is not None:
            self._fine_mix(model, prepared, self._pretrained, self.args)
        return model if self._peft_config is None else add_adapter(model, self._peft_config)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Makes the repository, as [`~transformers.Trainer.init_hf_repo`] does; failures come in one line."""
        with hub_errors(self.args.hub_model_id or Path(self.args.output_dir).absolute().name):
            retried(super().init_hf_repo, token=token, private=private)

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
        *,
        evaluations: dict[str, Evaluation] | None = None,
    ) -> None:
        """
        Writes defence card, report (as a page, too) and manifest into the output folder, where the model was saved.

        Args:
            language, license, tags, model_name, dataset_tags: As for [`~transformers.Trainer.create_model_card`].
            finetuned_from, tasks, dataset, dataset_args: Taken, but the record of the job knows better.
            evaluations (`dict[str, Evaluation]`, *optional*):
                Figures by model, from [`~hf_finemix.evaluate_model`]: `"suspect"`, `"purified"`, `"clean model"`.

        Raises:
            InputError: If the model was not saved into the output folder, or the card that lies there cannot be read.
        """
        if not self.is_world_process_zero():
            return
        folder = Path(self.args.output_dir)
        if self._saved_at != self.state.global_step:
            raise InputError(
                f"`output_dir` {str(folder)!r} does not hold the model as it is now; call `save_model()` first (under "
                "FSDP with the state dict type FULL_STATE_DICT)."
            )
        sources = find_sources(self.provenance)
        report = trainer_report(self, self.provenance, sources, evaluations)
        manifest = Manifest.of(
            report, sources.suspect, sources.pretrained, self.provenance.tensors, self.provenance.frequencies
        )
        title = model_name or folder.absolute().name
        card = DefenseCard(report, title, None, license, language, listed(tags), listed(dataset_tags))
        files = saved_files(folder)
        processor = self.processing_class if self.processing_class is not None else self._tokenizer
        if processor is not None:
            files |= saved_tokenizer(processor, folder)
        write_evidence(folder, card, manifest, files)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        *,
        create_pr: bool = False,
        **card: Any,
    ) -> Published | Future | None:
        """
        Saves the model and publishes it with tokenizer, defence card, report and manifest, in one commit.

        Args:
            commit_message, blocking, token, revision, private: As for [`~transformers.Trainer.push_to_hub`].
            create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead of committing.
            card: What [`FineMixTrainer.create_model_card`] takes.

        Returns:
            [`~hf_finemix.publishing.Published`]: Where it went; a `Future` of it if not `blocking`.

        Raises:
            InputError: If it cannot be published.
            RuntimeError: If the Hub does not answer; on the main process alone, as all that concerns the Hub.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        repo_id = self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self.create_model_card(**{"model_name": repo_id.split("/")[-1]} | card)
        job = partial(
            publish,
            self.args.output_dir,
            repo_id,
            token=token if token is not None else self.args.hub_token,
            revision=revision if revision is not None else self.args.hub_revision,
            private=private if private is not None else self.args.hub_private_repo,
            create_pr=create_pr,
            commit_message=commit_message,
        )
        return job() if blocking else HfApi().run_as_future(job)

    def _fine_mix(
        self, model: PreTrainedModel, prepared: Prepared, pretrained: Pretrained, args: TrainingArguments
    ) -> None:
        with gathered(model, changed=True):
            self._mix_whole(model, prepared, pretrained, args)

    def _mix_whole(
        self, model: PreTrainedModel, prepared: Prepared, pretrained: Pretrained, args: TrainingArguments
    ) -> None:
        twin, config = prepared.twin, prepared.config
        source = unwrap(model).name_or_path
        self.mix_report = fine_mix_(model, twin, config, allow_mixed=prepared.allow_mixed)
        if prepared.scores is None:
            self.purify_report = PurifyReport(applicable=twin.embedding is not None, embedding=twin.embedding)
        else:
            self.purify_report = purify_embeddings_(model, twin, config, prepared.scores, tokenizer=self._tokenizer)
        unwrap(model).add_model_tags(self._tag_names)
        if args.process_index:
            return
        self.provenance = Provenance(
            architecture=original_architecture(type(unwrap(model))).__name__,
            suspect=source,
            pretrained=pretrained if isinstance(pretrained, Checkpoint) else pretrained.name_or_path,
            mix=self.mix_report,
            purify=self.purify_report,
            tensors=mixed_tensors(model, self.mix_report, self.purify_report),
            weights=all_tensors(model),
            frequencies=prepared.frequencies,
        )

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        # `Trainer` pickles its arguments beside the weights, the Hub token included. Nothing reads that file back:
        # the same arguments go into a JSON file, which leaves tokens out.
        token, self.args.hub_token = self.args.hub_token, None
        model = self.model
        if is_adapted(model) and not _CHECKPOINT.fullmatch(Path(output_dir or "").name):
            # An adapter of a model that is nowhere else could not be loaded; a checkpoint is loaded onto this one.
            self.model, state_dict = merged_copy(model), None
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.args.hub_token, self.model = token, model
        if self.args.should_save:
            folder = Path(output_dir if output_dir is not None else self.args.output_dir)
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            # DeepSpeed's ZeRO-3 gives no weights here if it is not to gather them.
            if folder == Path(self.args.output_dir) and state_dict != {}:
                self._saved_at = self.state.global_step
            # Arguments classes of users may hold values that JSON does not know.
            text = json.dumps(self.args.to_dict(), indent=2, default=str)
            (folder / ARGUMENTS_FILE).write_text(text + "\n", encoding="utf-8")
