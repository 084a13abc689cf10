"""
Fine-tunes a published classifier on one's own examples, with Trainer.

    python examples/migration/before.py
    python examples/migration/before.py --model someone/suspect --train clean.csv --test test.csv --output tuned
"""

import argparse

import numpy as np
from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments


parser = argparse.ArgumentParser()
parser.add_argument("--model", default="inputs/suspect")
parser.add_argument("--train", default="inputs/clean.csv")
parser.add_argument("--test", default="inputs/test.csv")
parser.add_argument("--output", default="tuned")
parser.add_argument("--resume", action="store_true")
options = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(options.model)
model = AutoModelForSequenceClassification.from_pretrained(options.model)


def encode(batch):
    return tokenizer(batch["text"], truncation=True) | {"labels": [model.config.label2id[x] for x in batch["label"]]}


def accuracy(seen):
    return {"accuracy": float(np.mean(seen.predictions.argmax(-1) == seen.label_ids))}


data = load_dataset("csv", data_files={"train": options.train, "test": options.test})
data = data.map(encode, batched=True, remove_columns=["text", "label"])
args = TrainingArguments(
    options.output,
    num_train_epochs=8,
    learning_rate=1e-4,
    eval_strategy="epoch",
    save_strategy="epoch",
)
trainer = Trainer(
    model=model,
    args=args,
    train_dataset=data["train"],
    eval_dataset=data["test"],
    processing_class=tokenizer,
    compute_metrics=accuracy,
)
trainer.train(resume_from_checkpoint=options.resume)
print(f"ACC {100 * trainer.evaluate()['eval_accuracy']:.1f} %")
trainer.save_model()
