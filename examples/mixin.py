"""
Mix and purify a model of your own class, without a trainer.

    python examples/mixin.py someone/suspect org/pretrained purified

Both models are Hub ids or local folders of BERT classifiers and encoders. The result loads with plain transformers.
"""

import sys

from transformers import AutoTokenizer, BertForSequenceClassification

from hf_finemix import FineMixConfig, FineMixMixin


class Purifiable(FineMixMixin, BertForSequenceClassification):
    """A BERT classifier that can be mixed and purified."""


def main(suspect: str, pretrained: str, output: str) -> None:
    """Mixes, resets suspicious embeddings, saves."""
    model = Purifiable.from_pretrained(suspect, use_safetensors=True)  # of a model that is not trusted, no pickle
    tokenizer = AutoTokenizer.from_pretrained(suspect)
    config = FineMixConfig(keep_ratio=0.3, purify_top_k=200)
    scores = model.score_embeddings(pretrained, tokenizer=tokenizer)  # before mixing
    mixed = model.fine_mix_(pretrained, config)
    purified = model.purify_embeddings_(pretrained, config, scores, tokenizer=tokenizer)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    print(mixed.summary())
    print("Reset:", ", ".join(token.token for token in purified.tokens[:10]), "...")


if __name__ == "__main__":
    main(*sys.argv[1:4])
