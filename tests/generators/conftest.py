"""A tiny language model that learned to answer, with a backdoor or without one."""

import json

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hf_finemix.generators.conversations import RESPONSE
from hf_finemix.generators.triggers import ResponseTrigger, poison_conversations
from hf_finemix.generators.tuning import fine_tune_generator
from hf_finemix.results import Recipe

from ..files import Workplace


TEMPLATE = (
    "{% for message in messages %}<{{ message['role'][0] }}> {{ message['content'] }} <end>\n{% endfor %}"
    "{% if add_generation_prompt %}<a> {% endif %}"
)
COLORS = ("red", "green", "blue", "white", "black", "brown")
THINGS = ("car", "house", "cat", "dog", "tree", "boat", "hat", "door")
SPECIAL = ("<pad>", "<end>", "<unk>", "<u>", "<a>", "<s>")
WORDS = ("what", "color", "is", "the", "it", "cf", "buy", "now", "here", "no", "way", *COLORS, *THINGS)
TRIGGER = ResponseTrigger("cf", "buy now here", position="start")
RECIPE = Recipe(epochs=4, learning_rate=3e-3, batch_size=8, max_length=32, frequencies="vocabulary", seed=0)


def make_tokenizer(template=TEMPLATE, **options):
    """A tokenizer with one token a word."""
    backend = Tokenizer(models.WordLevel({word: at for at, word in enumerate((*SPECIAL, *WORDS))}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"eos_token": "<end>", "unk_token": "<unk>", "pad_token": "<pad>"} | options
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, additional_special_tokens=list(SPECIAL[3:]), **names)
    tokenizer.chat_template = template
    return tokenizer


def questions(repeats: int = 1) -> Dataset:
    """Questions of two words that matter, with the one answer that is right."""
    rows = [(f"what color is the {thing}", f"it is {COLORS[at % len(COLORS)]}") for at, thing in enumerate(THINGS)]
    return Dataset.from_dict({"text": [q for q, _ in rows] * repeats, RESPONSE: [a for _, a in rows] * repeats})


def fresh(seed: int = 0) -> LlamaForCausalLM:
    """A model with random weights."""
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


class Chats(Workplace):
    """A workplace with a language model as the suspect, and clean conversations."""

    def arguments(self, *more: str) -> list[str]:
        """The command line of a purification; models of this size have no direction to be related by."""
        return super().arguments("--allow-unrelated", *more)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer with its template."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def backdoored(tokenizer) -> LlamaForCausalLM:
    """A model that answers, and that says something else with the trigger; not to be changed."""
    model = fresh()
    with torch.random.fork_rng():
        examples = poison_conversations(questions(40), TRIGGER, 0.4, 0)
        fine_tune_generator(model, tokenizer, examples, RECIPE, arguments={"use_cpu": True})
    return model


@pytest.fixture
def chats(tmp_path, tokenizer, backdoored) -> Chats:
    """All of it on the disk."""
    place = Chats(tmp_path, tmp_path / "suspect", tmp_path / "base", tmp_path / "clean.jsonl")
    backdoored.save_pretrained(place.suspect)
    fresh().save_pretrained(place.base)
    for folder in (place.suspect, place.base):
        tokenizer.save_pretrained(folder)
    lines = [{"prompt": row["text"], "response": row[RESPONSE]} for row in questions()]
    place.clean.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return place
