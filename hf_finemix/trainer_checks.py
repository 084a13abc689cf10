"""What `FineMixTrainer` refuses because of how the training is to be shared out and published."""

from peft import PeftConfig
from transformers import Trainer, TrainingArguments

from .adapter_training import check_adapter_config
from .errors import InputError
from .together import FSDP, was_asked_for


_PARTITIONED = 3


def check_arguments(args: TrainingArguments, peft_config: PeftConfig | None) -> None:
    """
    Refuses what can be told before anything is done.

    Args:
        args ([`~transformers.TrainingArguments`]): The trainer's arguments.
        peft_config (`peft.PeftConfig`, *optional*): The fresh adapter.

    Raises:
        InputError: If half-trained weights would be published, or the adapter cannot be trained this way.
    """
    if args.push_to_hub and args.hub_strategy != "end":
        raise InputError(
            f"`hub_strategy` is {args.hub_strategy.value!r}, which would publish half-trained weights; use 'end'."
        )
    if peft_config is None:
        return
    check_adapter_config(peft_config)
    plugin = getattr(args, "deepspeed_plugin", None)
    if args.fsdp or was_asked_for(FSDP) or (plugin is not None and plugin.zero_stage == _PARTITIONED):
        raise InputError(
            "`peft_config` needs the whole model in each process, where FSDP and ZeRO-3 cut it up; use DDP or ZeRO-2, "
            "or mix with `hf-finemix mix` and train the adapter with Trainer."
        )


def check_sharing(trainer: Trainer) -> None:
    """
    Refuses a trainer that shares its work out in another way than was asked for, or could not save what it publishes.

    Raises:
        InputError: If so.
    """
    args = trainer.args
    if args.fsdp and not (trainer.is_fsdp_enabled or trainer.is_fsdp_xla_enabled):
        raise InputError("`fsdp` is set, but FSDP is not active; start the script with `accelerate launch`.")
    if args.deepspeed and not trainer.is_deepspeed_enabled:
        raise InputError("`deepspeed` is set, but DeepSpeed is not active; start the script with `accelerate launch`.")
    if not args.push_to_hub:
        return
    if trainer.is_fsdp_enabled and "FULL_STATE_DICT" not in str(trainer.accelerator.state.fsdp_plugin.state_dict_type):
        # As `Trainer.save_model` decides, which otherwise saves nothing.
        raise InputError("`push_to_hub` needs whole weights; set FSDP's state dict type to FULL_STATE_DICT.")
    if trainer.is_deepspeed_enabled:
        zero = trainer.accelerator.state.deepspeed_plugin.deepspeed_config.get("zero_optimization", {})
        if zero.get("stage") == _PARTITIONED and zero.get("stage3_gather_16bit_weights_on_model_save") is not True:
            raise InputError(
                "`push_to_hub` needs whole weights; set DeepSpeed's stage3_gather_16bit_weights_on_model_save "
                "(zero3_save_16bit_model) to true."
            )
