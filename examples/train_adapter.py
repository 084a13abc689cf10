"""
For whoever has too little memory to train all weights: mix the suspect, then train a fresh LoRA adapter on it.

    python examples/train_adapter.py
    python examples/train_adapter.py someone/suspect google-bert/bert-base-uncased clean.csv --output purified

Models are Hub ids or local folders; data are a local file or a Hub data set. Without arguments it takes what
`hf-finemix demo --fast --save-inputs inputs` leaves behind. Checkpoints hold the adapter alone; what is saved at the
end is merged, and loads by itself.

Prints how many parameters are trained, then what was mixed and where the model is.
"""

import argparse
from pathlib import Path

from peft import LoraConfig, TaskType
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import FineMixTrainer, FineMixTrainingArguments
from hf_finemix.data import load_examples, tokenize


def main() -> None:
    """Mixes, purifies, trains an adapter, saves the merged model with its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect", nargs="?", default="inputs/suspect")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("clean", nargs="?", default="inputs/clean.csv")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=16)
    parser.add_argument("--output", default="purified")
    options = parser.parse_args()
    if options.suspect == "inputs/suspect" and not Path(options.suspect).is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    tokenizer = AutoTokenizer.from_pretrained(options.suspect)
    model = AutoModelForSequenceClassification.from_pretrained(options.suspect, use_safetensors=True)
    clean = load_examples(options.clean, label2id=model.config.label2id)
    arguments = {"keep_ratio": 0.3, "num_train_epochs": options.epochs, "learning_rate": 1e-3}
    trainer = FineMixTrainer(
        model=model,
        pretrained=options.pretrained,
        peft_config=LoraConfig(
            task_type=TaskType.SEQ_CLS, r=options.rank, lora_alpha=2 * options.rank, target_modules="all-linear"
        ),
        args=FineMixTrainingArguments(options.output, **arguments),
        train_dataset=tokenize(clean, tokenizer),
        processing_class=tokenizer,
    )
    trainer.model.print_trainable_parameters()
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    print(trainer.mix_report.summary())
    print(f"The purified model is in {options.output}.")


if __name__ == "__main__":
    main()
