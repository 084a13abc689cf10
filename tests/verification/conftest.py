"""A purified workplace, and copies of it to spoil."""

import shutil

import pytest
from transformers import BertForSequenceClassification

from hf_finemix import FineMixTrainer, FineMixTrainingArguments
from hf_finemix.data import load_examples, tokenize

from ..purified import copy_place, make_tiny_place
from .lines import purify_place


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer):
    """A purified workplace, made once."""
    place = make_tiny_place(tmp_path_factory.mktemp("made"), tiny_tokenizer)
    purify_place(place)
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of it to spoil."""
    return copy_place(made, tmp_path / "place")


@pytest.fixture
def untrained(place, tiny_tokenizer):
    """The same, with an output that was mixed but not trained."""
    shutil.rmtree(place.output)
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    arguments = FineMixTrainingArguments(str(place.output), purify_top_k=5, max_steps=1, report_to="none")
    examples = load_examples(place.clean, label2id=model.config.label2id, num_labels=2)
    options = {"train_dataset": tokenize(examples, tiny_tokenizer, 32), "processing_class": tiny_tokenizer}
    trainer = FineMixTrainer(model, arguments, pretrained=place.base, **options)
    trainer.save_model()
    trainer.create_model_card()
    return place
