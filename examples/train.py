"""
A fine-tuning script for Trainer, with two changes: the name of the class, and `pretrained`.

    python examples/train.py someone/suspect google-bert/bert-base-uncased clean.csv --output purified

Models are Hub ids or local folders; the csv file has columns `text` and `label` (label ids).
"""

import argparse

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import FineMixTrainer, FineMixTrainingArguments


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
        model=AutoModelForSequenceClassification.from_pretrained(options.suspect),
        pretrained=options.pretrained,
        args=FineMixTrainingArguments(options.output, num_train_epochs=options.epochs, learning_rate=5e-5),
        train_dataset=clean.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
