"""
Purify a model in a training script and publish it with its evidence: defence card, report and manifest.

    python examples/publish.py someone/suspect google-bert/bert-base-uncased clean.csv test.csv me/purified

Models are Hub ids or local folders; the csv files have columns `text` and `label` (label ids). Log in with
`hf auth login` first. Afterwards anybody can check the result with `hf-finemix verify me/purified`.
"""

import sys

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import FineMixTrainer, FineMixTrainingArguments, evaluate_model


def main(suspect: str, pretrained: str, clean: str, test: str, repo_id: str) -> None:
    """Measures, mixes, fine-tunes, measures again, publishes."""
    tokenizer = AutoTokenizer.from_pretrained(suspect)
    model = AutoModelForSequenceClassification.from_pretrained(suspect, use_safetensors=True)
    data = load_dataset("csv", data_files={"clean": clean, "test": test})
    before = evaluate_model(model, tokenizer, data["test"])
    trainer = FineMixTrainer(
        model=model,
        pretrained=pretrained,
        args=FineMixTrainingArguments("purified", num_train_epochs=8, learning_rate=1e-4, hub_model_id=repo_id),
        train_dataset=data["clean"].map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True),
        eval_dataset=data["test"],
        processing_class=tokenizer,
    )
    trainer.train()
    after = evaluate_model(trainer.model, tokenizer, data["test"])
    published = trainer.push_to_hub(evaluations={"suspect": before, "purified": after})
    print(f"ACC {before.accuracy} -> {after.accuracy}: {published.commit_url}")


if __name__ == "__main__":
    main(*sys.argv[1:6])
