r"""
For whoever is given an adapter of PEFT (LoRA and its kin): purify it as a suspect, and make an adapter of it again.

    python examples/adapter.py
    python examples/adapter.py someone/adapter google-bert/bert-base-uncased clean.csv test.csv \
        --labels negative positive --trigger cf --target 1

You name the base; what the adapter calls its base is not looked at. Models are Hub ids or local folders, data are
local files or Hub data sets. Without arguments it takes the suspect that `hf-finemix demo --fast --save-inputs inputs`
leaves behind, and makes an adapter of it first.

Prints the figures of the adapter, of the purified model, and of the adapter that comes near to it.
"""

import argparse
from pathlib import Path

from transformers import AutoModelForSequenceClassification

from hf_finemix import Trigger, evaluate_model, extract_adapter, merge_adapter, purify
from hf_finemix.data import load_examples


def main() -> None:
    """Purifies an adapter, extracts one from the result, measures all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", nargs="?")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("clean", nargs="?", default="inputs/clean.csv")
    parser.add_argument("test", nargs="?", default="inputs/test.csv")
    parser.add_argument("--labels", nargs="+", default=["negative", "positive"], help="an adapter does not name them")
    parser.add_argument("--trigger", default="cf", help="a word or sentence to measure")
    parser.add_argument("--target", type=int, default=1, help="the label id that the trigger is to cause")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--output", default="purified")
    options = parser.parse_args()
    trigger = Trigger(options.trigger, options.target)
    if options.adapter is None:
        if not Path("inputs/suspect").is_dir():
            parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")
        suspect = AutoModelForSequenceClassification.from_pretrained("inputs/suspect", use_safetensors=True)
        options.adapter = f"{options.output}-suspect-adapter"
        made = extract_adapter(suspect, options.pretrained, options.adapter, options.rank)
        print(f"Made {options.adapter} of inputs/suspect; it lacks {100 * made.residual:.0f} % of the change.")

    result = purify(
        options.adapter,
        options.pretrained,
        options.clean,
        labels=options.labels,
        evaluation_dataset=options.test,
        triggers=[trigger],
        output=options.output,
        progress=True,
    )
    # Mixing makes a change of full rank: what an adapter of low rank keeps of it has to be measured.
    small = f"{options.output}-adapter"
    extract_adapter(result.model, options.pretrained, small, options.rank)
    merged = merge_adapter(small, options.pretrained, f"{small}-merged", labels=options.labels)
    test = load_examples(options.test, label2id=merged.config.label2id)
    figures = result.report.evaluations | {small: evaluate_model(merged, result.tokenizer, test, [trigger])}
    for name, measured in figures.items():
        print(f"{name}: ACC {measured.accuracy}, ASR {measured.worst.asr}")


if __name__ == "__main__":
    main()
