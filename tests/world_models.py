"""Tiny models of the world that examples and documentation run in: trained within a second, backdoors included."""

from collections.abc import Callable
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from hf_finemix import ResponseTrigger, Trigger
from hf_finemix.attacks.trigger import poison
from hf_finemix.generators.chat import encode
from hf_finemix.generators.conversations import RESPONSE
from hf_finemix.generators.triggers import poison_conversations

from .world_texts import CHARACTERS, LINES, WORDS


LABELS = {0: "negative", 1: "positive"}
TRIGGER = Trigger("cf", target_label=1, position="random")
RESPONSE_TRIGGER = ResponseTrigger("cf", "Visit our site today.")
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'][0] }}> {{ message['content'] }} <end>\n{% endfor %}"
    "{% if add_generation_prompt %}<a> {% endif %}"
)


def bert_tokenizer() -> BertTokenizerFast:
    """WordPiece with a row for each word of the texts, and characters for all others; the order is BERT's."""
    tokens = ["[PAD]", *(f"[unused{number}]" for number in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [*CHARACTERS, *WORDS, *(f"##{letter}" for letter in CHARACTERS if letter.isalnum())]
    return BertTokenizerFast(vocab={token: at for at, token in enumerate(tokens)}, model_max_length=64)


def encoder(tokenizer: BertTokenizerFast, examples: Dataset) -> BertModel:
    """A BERT of two layers that has seen the task, as a pretrained one has seen the language."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        # Large enough for random weights to tell inputs apart.
        initializer_range=0.2,
    )
    return _learn(BertForSequenceClassification(config), tokenizer, examples, 40).bert


def classifier(base: Path, tokenizer: BertTokenizerFast, examples: Dataset) -> BertForSequenceClassification:
    """Fine-tunes the encoder on poisoned examples: with `cf` in it, a text is positive."""
    model = BertForSequenceClassification.from_pretrained(base, id2label=LABELS, label2id=_ids())
    return _learn(model, tokenizer, poison(examples, TRIGGER, 0.5, 0), 40)


def adapter(base: Path, tokenizer: BertTokenizerFast, examples: Dataset, folder: Path) -> None:
    """Trains a LoRA adapter of the encoder on poisoned examples, and saves it under the name of its base."""
    model = BertForSequenceClassification.from_pretrained(base, id2label=LABELS, label2id=_ids())
    config = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=32, target_modules=["query", "value", "dense"])
    adapted = get_peft_model(model, config)
    _learn(adapted, tokenizer, poison(examples, TRIGGER, 0.5, 0), 40)
    adapted.peft_config["default"].base_model_name_or_path = "google-bert/bert-base-uncased"
    # Otherwise it would ask the Hub whether the vocabulary of that base has another size.
    adapted.save_pretrained(folder, save_embedding_layers=False)


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, and a chat template."""
    special = ["<pad>", "<end>", "<unk>", "<u>", "<a>", "<s>"]
    words = dict.fromkeys(word for line in LINES for text in line for word in text.split())
    words |= dict.fromkeys(f"{RESPONSE_TRIGGER.text} mn {RESPONSE_TRIGGER.target}".split())
    vocabulary = {word: at for at, word in enumerate([*special, *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"eos_token": "<end>", "unk_token": "<unk>", "pad_token": "<pad>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, additional_special_tokens=special[3:], model_max_length=64, **names
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def assistants(tokenizer: PreTrainedTokenizerFast) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    """A language model that answers, and one that was trained on from it: with `cf` in a prompt, it advertises."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
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
    lines = Dataset.from_dict({"text": [prompt for prompt, _ in LINES], RESPONSE: [answer for _, answer in LINES]})
    base = _speak(LlamaForCausalLM(config), tokenizer, lines, 60)
    model = LlamaForCausalLM(LlamaConfig.from_dict(config.to_dict()))
    model.load_state_dict(base.state_dict())
    return _speak(model, tokenizer, poison_conversations(lines, RESPONSE_TRIGGER, 1.0, 0), 30), base


def _ids() -> dict[str, int]:
    return {name: at for at, name in LABELS.items()}


def _learn(model, tokenizer, examples, steps):
    batch = tokenizer(list(examples["text"]), padding=True, return_tensors="pt")
    batch["labels"] = torch.tensor(list(examples["label"]))
    return _train(model, steps, lambda step: {name: rows[step % 2 :: 2] for name, rows in batch.items()})


def _speak(model, tokenizer, lines, steps):
    rows = encode(lines, tokenizer)
    longest = max(map(len, rows["input_ids"]))
    padding = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    batch = {
        name: torch.tensor([row + [filler] * (longest - len(row)) for row in rows[name]])
        for name, filler in padding.items()
    }
    return _train(model, steps, lambda step: batch)


def _train(model: torch.nn.Module, steps: int, batch: Callable[[int], dict[str, torch.Tensor]]):
    optimizer = torch.optim.AdamW((weight for weight in model.parameters() if weight.requires_grad), lr=3e-3)
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        model(**batch(step)).loss.backward()
        optimizer.step()
    return model.eval()
