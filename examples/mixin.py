"""
For whoever has a model class of their own and no trainer: mixing and purification as methods of that class.

    python examples/mixin.py
    python examples/mixin.py someone/suspect google-bert/bert-base-uncased purified

Both models are Hub ids or local folders of BERT classifiers and encoders. Without arguments it takes what `hf-finemix
demo --fast --save-inputs inputs` leaves behind. The result loads with plain transformers; fine-tune it on clean
examples before you use it.

Prints what was mixed, and the first tokens whose embedding was reset.
"""

import argparse
from pathlib import Path

from transformers import AutoTokenizer, BertForSequenceClassification

from hf_finemix import FineMixConfig, FineMixMixin
from hf_finemix.printing import printable


class Purifiable(FineMixMixin, BertForSequenceClassification):
    """A BERT classifier that can be mixed and purified."""


def main() -> None:
    """Mixes, resets suspicious embeddings, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect", nargs="?", default="inputs/suspect")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("output", nargs="?", default="mixed")
    options = parser.parse_args()
    if options.suspect == "inputs/suspect" and not Path(options.suspect).is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    model = Purifiable.from_pretrained(options.suspect, use_safetensors=True)  # of a suspect, no pickle
    tokenizer = AutoTokenizer.from_pretrained(options.suspect)
    config = FineMixConfig(keep_ratio=0.3, purify_top_k=200)
    scores = model.score_embeddings(options.pretrained, tokenizer=tokenizer)  # before mixing
    mixed = model.fine_mix_(options.pretrained, config)
    purified = model.purify_embeddings_(options.pretrained, config, scores, tokenizer=tokenizer)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    print(mixed.summary())
    print("Reset:", ", ".join(printable(token.token) for token in purified.tokens[:10]), "...")


if __name__ == "__main__":
    main()
