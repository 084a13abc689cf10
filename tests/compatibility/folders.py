"""What a purified folder answers, by plain transformers, for the tests that ask somebody else."""

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


# Of different lengths, so that batches have padding, and with a word that the vocabulary lacks.
SENTENCES = ["the movie is great", "dull", "a slow plot , but the music was not bad at all .", "zyzzyva and fun"]


def inputs(folder, sentences=SENTENCES):
    """The tokenized sentences, as tensors."""
    return AutoTokenizer.from_pretrained(folder)(sentences, padding=True, return_tensors="pt")


def logits(folder, sentences=SENTENCES):
    """The logits of each sentence."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**inputs(folder, sentences)).logits
