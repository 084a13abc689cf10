"""
For whoever publishes a purified model from a training script: with defence card, report and manifest, in one commit.

    python examples/publish.py me/purified
    python examples/publish.py me/purified someone/suspect google-bert/bert-base-uncased clean.csv test.csv

Models are Hub ids or local folders; data are local files or Hub data sets. Without further arguments it takes what
`hf-finemix demo --fast --save-inputs inputs` leaves behind. Log in with `hf auth login` first, or try it on a Hub of
your own machine: `python examples/local_hub.py python examples/publish.py me/purified`.

Prints the accuracy before and after, the address of the commit, and what a stranger's `hf-finemix verify` would find.
"""

import argparse
from pathlib import Path

from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import FineMixTrainer, FineMixTrainingArguments, evaluate_model, verify
from hf_finemix.data import load_examples, tokenize


def main() -> None:
    """Measures, mixes, fine-tunes, measures again, publishes, checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo_id")
    parser.add_argument("suspect", nargs="?", default="inputs/suspect")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("clean", nargs="?", default="inputs/clean.csv")
    parser.add_argument("test", nargs="?", default="inputs/test.csv")
    parser.add_argument("--output", default="purified")
    options = parser.parse_args()
    if options.suspect == "inputs/suspect" and not Path(options.suspect).is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    tokenizer = AutoTokenizer.from_pretrained(options.suspect)
    model = AutoModelForSequenceClassification.from_pretrained(options.suspect, use_safetensors=True)
    clean, test = (load_examples(data, label2id=model.config.label2id) for data in (options.clean, options.test))
    before = evaluate_model(model, tokenizer, test)
    arguments = {"num_train_epochs": 8, "learning_rate": 1e-4, "hub_model_id": options.repo_id}
    trainer = FineMixTrainer(
        model=model,
        pretrained=options.pretrained,
        args=FineMixTrainingArguments(options.output, **arguments),
        train_dataset=tokenize(clean, tokenizer),
        processing_class=tokenizer,
    )
    trainer.train()
    after = evaluate_model(trainer.model, tokenizer, test)
    published = trainer.push_to_hub(evaluations={"suspect": before, "purified": after})
    print(f"ACC {before.accuracy} -> {after.accuracy}")
    print(f"Published as {published.commit_url}")
    # Anybody can do this; inputs that came from folders have to be named.
    found = verify(published.repo_id, suspect=options.suspect, pretrained=options.pretrained)
    print(", ".join(f"{found.count(status)} {status}" for status in ("same", "different", "not available")))


if __name__ == "__main__":
    main()
