r"""
For whoever trains on several devices or machines: FineMixTrainer under torchrun or `accelerate launch`.

    torchrun --nproc-per-node 2 examples/distributed.py
    accelerate launch --config_file examples/accelerate_configs/ddp.yaml examples/distributed.py \
        someone/suspect google-bert/bert-base-uncased clean.csv test.csv --output purified

Models are Hub ids or local folders; data are local files or Hub data sets. Without arguments it takes what `hf-finemix
demo --fast --save-inputs inputs` leaves behind. Each process mixes the same bits; the batch size is that of all
processes together, so that more of them change nothing but the time.

Prints, once, what was mixed and the accuracy on the test examples.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import FineMixTrainer, FineMixTrainingArguments
from hf_finemix.data import load_examples, tokenize
from hf_finemix.together import leave


def main() -> None:
    """Mixes, purifies, fine-tunes, measures, saves with a defence card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect", nargs="?", default="inputs/suspect")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("clean", nargs="?", default="inputs/clean.csv")
    parser.add_argument("test", nargs="?", default="inputs/test.csv")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--epochs", type=float, default=8)
    parser.add_argument("--output", default="purified")
    options = parser.parse_args()
    if options.suspect == "inputs/suspect" and not Path(options.suspect).is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    tokenizer = AutoTokenizer.from_pretrained(options.suspect)
    model = AutoModelForSequenceClassification.from_pretrained(options.suspect, use_safetensors=True)
    clean, test = (
        tokenize(load_examples(data, label2id=model.config.label2id), tokenizer)
        for data in (options.clean, options.test)
    )
    arguments = FineMixTrainingArguments(
        options.output,
        per_device_train_batch_size=max(1, options.batch_size // int(os.environ.get("WORLD_SIZE", "1"))),
        num_train_epochs=options.epochs,
        learning_rate=1e-4,
        use_cpu=not torch.accelerator.is_available(),
    )
    trainer = FineMixTrainer(
        model=model,
        pretrained=options.pretrained,
        args=arguments,
        train_dataset=clean,
        eval_dataset=test,
        processing_class=tokenizer,
        compute_metrics=lambda seen: {"accuracy": float(np.mean(seen.predictions.argmax(-1) == seen.label_ids))},
    )
    trainer.train()
    metrics = trainer.evaluate()
    trainer.save_model()
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print(trainer.mix_report.summary())
        print(f"ACC {100 * metrics['eval_accuracy']:.1f} % of {len(test)}, {trainer.args.world_size} processes")
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
    # A process that met others over gloo may be aborted while Python shuts down, though its work is done.
    leave(0)
