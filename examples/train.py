"""
A fine-tuning script for Trainer, with two changes: the name of the class, and `pretrained`. Mixing takes its defaults;
with FineMixTrainingArguments instead of TrainingArguments it can be set, too.

    python examples/train.py someone/suspect google-bert/bert-base-uncased clean.csv --output purified

Models are Hub ids or local folders; the csv file has columns `text` and `label` (label ids).
"""

import argparse

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments

from hf_finemix import FineMixTrainer


def main() -> None:
    """Mixes, purifies, fine-tunes, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect")
    parser.add_argument("pretrained")
    parser.add_argument("csv")
    parser.add_argument("--output", default="purified")
    parser.add_argument("--epochs", type=float, default=8)
    options = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(options.suspect)
    clean = load_dataset("csv", data_files=options.csv, split="train")
    trainer = FineMixTrainer(
        # Of a model that is not trusted, no pickle.
        model=AutoModelForSequenceClassification.from_pretrained(options.suspect, use_safetensors=True),
        pretrained=options.pretrained,
        args=TrainingArguments(options.output, num_train_epochs=options.epochs, learning_rate=1e-4),
        train_dataset=clean.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()
    # Of several processes, one that ends without this may be aborted at its exit.
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
