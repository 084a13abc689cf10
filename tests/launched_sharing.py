"""
Run by test_sharing.py under torchrun: trains under FSDP2 or DeepSpeed on the CPU, and writes what each process saw.

    [WITH_ADAM=1] torchrun --nproc-per-node 2 tests/launched_sharing.py FOLDER KIND OUTPUT [CHECKPOINT]
"""

import json
import os
import sys
from pathlib import Path


os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from peft import LoraConfig
from transformers import BertModel, TrainingArguments

from hf_finemix import FineMixTrainer, InputError, fine_mix_
from hf_finemix.together import leave
from tests.launched import Losses, arguments, examples, suspect


def settings(folder: Path, kind: str, output: str) -> TrainingArguments:
    """Returns the training arguments of a kind: plain, fsdp2, zero2 or zero3."""
    options = {"output_dir": str(folder / output), "max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    if os.environ.get("WITH_ADAM"):
        options |= {"optim": "adamw_torch", "learning_rate": 1e-3}
    if kind.startswith("zero"):
        # Their checkpoints need a compiler.
        options["save_strategy"] = "no"
    if kind == "plain":
        return arguments(folder, **options)
    # On devices the launcher does all this; without any, accelerate takes the processes for strangers.
    PartialState(cpu=True)
    options |= {"use_cpu": False, "accelerator_config": {"use_configured_state": True}}
    if kind == "fsdp2":
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        return arguments(folder, **options)
    import deepspeed

    deepspeed.init_distributed("gloo")
    PartialState._shared_state["distributed_type"] = DistributedType.DEEPSPEED
    stage = int(kind[-1])
    zero = {"stage": stage} | ({"stage3_gather_16bit_weights_on_model_save": True} if stage == 3 else {})
    sizes = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "train_batch_size")
    config = {"zero_optimization": zero} | dict.fromkeys((*sizes, "gradient_clipping"), "auto")
    config |= {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
    return arguments(folder, **options, deepspeed=config)


def refusal(action) -> str | None:
    """Returns what an action is refused with."""
    try:
        action()
    except InputError as error:
        return str(error)
    return None


def main(folder: Path, kind: str, output: str, checkpoint: str | None = None) -> None:
    """Trains for four steps, from a checkpoint if there is one, and tries what is to be refused."""
    torch.set_num_threads(1)
    args, losses = settings(folder, kind, output), Losses()
    model = suspect(folder)
    seen = {"processes": args.world_size, "here": sum(p.numel() for p in model.parameters() if not p.is_meta)}
    if kind in ("fsdp2", "zero3"):
        adapted = {"pretrained": folder / "base", "peft_config": LoraConfig(target_modules=["query"])}
        seen["adapter"] = refusal(lambda: FineMixTrainer(suspect(folder), args, **adapted))
    if kind == "zero3":
        base = BertModel.from_pretrained(folder / "base")
        seen["object"] = refusal(lambda: fine_mix_(suspect(folder), base))
    rest = {"pretrained": folder / "base", "train_dataset": examples(16), "callbacks": [losses]}
    trainer = FineMixTrainer(model, args, **rest)
    if trainer.provenance is not None:
        seen["counts"] = [record.kept_scalars for record in trainer.mix_report.mixed]
        seen["mixed"] = [record.sha256 for record in trainer.provenance.weights]
    trainer.train(resume_from_checkpoint=checkpoint)
    seen["kind"] = type(next(trainer.model.parameters())).__name__
    trainer.save_model()
    if (folder / output / "model.safetensors").is_file() or args.process_index:
        trainer.create_model_card()
    else:
        seen["card"] = refusal(trainer.create_model_card)
    seen["losses"] = losses.values
    (folder / f"{output}-{args.process_index}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    leave(0)
