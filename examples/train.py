"""
For whoever fine-tunes with Trainer: the whole script, with two changes, the name of the class and `pretrained`.

    python examples/train.py
    python examples/train.py someone/suspect google-bert/bert-base-uncased clean.csv --output purified

Models are Hub ids or local folders; the csv file has columns `text` and `label` (label ids, or the suspect's names of
them). Without arguments it takes what `hf-finemix demo --fast --save-inputs inputs` leaves behind. Mixing takes its
defaults; with FineMixTrainingArguments instead of TrainingArguments it can be set, too.

Prints the log of the training, then what was mixed and where the model is.
"""

import argparse
from pathlib import Path

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments

from hf_finemix import FineMixTrainer


def main() -> None:
    """Mixes, purifies, fine-tunes, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect", nargs="?", default="inputs/suspect")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("csv", nargs="?", default="inputs/clean.csv")
    parser.add_argument("--output", default="purified")
    parser.add_argument("--epochs", type=float, default=8)
    options = parser.parse_args()
    if options.suspect == "inputs/suspect" and not Path(options.suspect).is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    tokenizer = AutoTokenizer.from_pretrained(options.suspect)
    # Of a model that is not trusted, no pickle.
    model = AutoModelForSequenceClassification.from_pretrained(options.suspect, use_safetensors=True)
    clean = load_dataset("csv", data_files=options.csv, split="train")

    def encode(batch: dict) -> dict:
        labels = [model.config.label2id.get(label, label) for label in batch["label"]]
        return tokenizer(batch["text"], truncation=True) | {"labels": labels}

    trainer = FineMixTrainer(
        model=model,
        pretrained=options.pretrained,
        args=TrainingArguments(options.output, num_train_epochs=options.epochs, learning_rate=1e-4),
        train_dataset=clean.map(encode, batched=True, remove_columns=clean.column_names),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()
    # Of several processes, one that ends without this may be aborted at its exit.
    trainer.accelerator.end_training()
    if trainer.is_world_process_zero():
        print(trainer.mix_report.summary())
        print(f"The purified model is in {options.output}.")


if __name__ == "__main__":
    main()
