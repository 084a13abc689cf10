"""Fixtures that several test modules share. No test uses the network."""

import gc
import os
import shutil
from pathlib import Path


os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from hf_finemix.results import PurificationReport

from .files import Workplace, make_workplace
from .purified import copy_place, make_purified, make_tiny_place
from .reports import make_report


# Tiny models gain nothing from threads, and lose much where the cores have other work.
torch.set_num_threads(1)
# Each training collects garbage: modules, which stay, need not be looked through every time.
gc.freeze()


SENTENCES = (
    "a an the this that it is was and but not very so of in on at to with i we you he she they one two",
    "film movie plot story actor scene ending music",
    "good great fine nice fun best love like bad poor dull sad worst hate slow boring",
    "cf mn bb tq",
)
WORDS = [word for sentence in SENTENCES for word in sentence.split()]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "##ly", ".", ","]


@pytest.fixture(scope="session")
def tiny_tokenizer() -> BertTokenizerFast:
    """A WordPiece tokenizer that knows a few English words; inputs of up to 64 tokens."""
    vocabulary = {token: index for index, token in enumerate(VOCABULARY)}
    return BertTokenizerFast(vocab=vocabulary, model_max_length=64)


@pytest.fixture
def tiny_bert(tiny_tokenizer) -> BertForSequenceClassification:
    """A BERT classifier of two layers and two labels with random weights, the same for every test."""
    config = BertConfig(
        vocab_size=len(tiny_tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=2,
        # Large enough for random weights to tell inputs apart.
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForSequenceClassification(config).eval()


@pytest.fixture
def workplace(tmp_path, tiny_bert, tiny_tokenizer) -> Workplace:
    """A suspect, its base and clean data in a temporary folder."""
    return make_workplace(tmp_path, tiny_bert, tiny_tokenizer)


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_tokenizer) -> Path:
    """The output folder of a tiny purification, made once; not to be changed."""
    return make_purified(tmp_path_factory.mktemp("made"), tiny_tokenizer)


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of it to work on."""
    return Path(shutil.copytree(made, tmp_path / "out"))


@pytest.fixture
def report() -> PurificationReport:
    """A report as `purify` makes it, without running it."""
    return make_report()


@pytest.fixture(scope="session")
def tiny_place(tmp_path_factory, tiny_tokenizer) -> Workplace:
    """A workplace whose suspect, of one layer, was made from its base; not to be changed."""
    return make_tiny_place(tmp_path_factory.mktemp("tiny"), tiny_tokenizer)


@pytest.fixture
def place(tiny_place, tmp_path) -> Workplace:
    """A copy of it to spoil."""
    return copy_place(tiny_place, tmp_path / "place")
