"""A purified folder in transformers' own pipeline."""

import pytest
from transformers import pipeline

from .folders import SENTENCES, logits


def test_pipeline_loads_the_folder_and_gives_the_labels_of_the_suspect(folder):
    classify = pipeline("text-classification", str(folder))
    chances = logits(folder).softmax(-1)
    for answer, row in zip(classify(SENTENCES), chances, strict=True):
        assert answer["label"] == ["negative", "positive"][row.argmax()]
        assert answer["score"] == pytest.approx(row.max().item(), abs=1e-6)


def test_pipeline_of_batches_gives_every_label(folder):
    answers = pipeline("text-classification", str(folder), top_k=None)(SENTENCES, batch_size=len(SENTENCES))
    for answer, row in zip(answers, logits(folder).softmax(-1), strict=True):
        assert {each["label"]: each["score"] for each in answer} == {
            "negative": pytest.approx(row[0].item(), abs=1e-6),
            "positive": pytest.approx(row[1].item(), abs=1e-6),
        }
