"""
For whoever trains language models with TRL: SFTTrainer that mixes and purifies first, a subclass of both trainers.

    pip install trl
    python examples/sft_trainer.py someone/assistant someone/assistant-base chats.jsonl --output purified

Models are Hub ids or local folders; the demo makes no language model, so name your own. Each line of chats.jsonl has a
list `messages`, as TRL reads it. Mixing and embedding purification come first, then what SFTTrainer does; checkpoints,
LoRA (`peft_config`) and packing are TRL's.

Prints the log of the training, then what was mixed.
"""

import argparse
from dataclasses import dataclass

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer
from trl import SFTConfig, SFTTrainer

from hf_finemix import FineMixTrainer, FineMixTrainingArguments


@dataclass
class FineMixSFTConfig(SFTConfig, FineMixTrainingArguments):
    """TRL's arguments and defaults, with those of the mixing."""

    # Half-trained weights are not published.
    hub_strategy: str = "end"


class FineMixSFTTrainer(FineMixTrainer, SFTTrainer):
    """TRL's trainer, with a model that is mixed and purified before it is trained."""

    def _save_checkpoint(self, model, trial):
        # SFTTrainer writes a card of its own with each checkpoint; ours is about the finished model.
        Trainer._save_checkpoint(self, model, trial)


def main(suspect: str, pretrained: str, chats: str, output: str) -> None:
    """Mixes, purifies, fine-tunes, saves with a defence card."""
    trainer = FineMixSFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(suspect, use_safetensors=True),
        pretrained=pretrained,
        args=FineMixSFTConfig(
            output,
            keep_ratio=0.3,
            num_train_epochs=3,
            learning_rate=5e-5,
            bf16=torch.cuda.is_available(),
            report_to="none",
        ),
        train_dataset=load_dataset("json", data_files=chats, split="train"),
        processing_class=AutoTokenizer.from_pretrained(suspect),
    )
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    print(trainer.mix_report.summary())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect")
    parser.add_argument("pretrained")
    parser.add_argument("chats")
    parser.add_argument("--output", default="purified")
    main(**vars(parser.parse_args()))
