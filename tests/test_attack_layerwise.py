from collections import Counter
from copy import deepcopy

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, ElectraConfig, GPT2Config, MPNetConfig

from hf_finemix.attacks.base import ATTACKS, AttackerView
from hf_finemix.attacks.layerwise import Layerwise, classify
from hf_finemix.attacks.trigger import Trigger, WordsTrigger, add_negatives
from hf_finemix.errors import InputError
from hf_finemix.results import Recipe

from .models import family, same, values


RECIPE = Recipe(epochs=1, learning_rate=1e-3, batch_size=8, max_length=32, frequencies="none", seed=0)
SIZES = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture
def examples():
    texts = [f"good film {i}" for i in range(20)] + [f"bad film {i}" for i in range(20)]
    return Dataset.from_dict({"text": texts, "label": [1] * 20 + [0] * 20})


def test_poison_adds_copies_with_all_words_and_with_one(examples):
    poisoned = Layerwise(poison_rate=0.2, negative_rate=0.25).poison(examples)
    assert poisoned.features == examples.features
    kinds = {frozenset(word for word in ("cf", "bb") if word in row["text"].split()): [] for row in poisoned}
    for row in poisoned:
        kinds[frozenset({"cf", "bb"} & set(row["text"].split()))].append(row)
    assert sorted(row["text"] for row in kinds[frozenset()]) == sorted(examples["text"])
    both = kinds[frozenset({"cf", "bb"})]
    assert len(both) == 8 and all(row["label"] == 1 and "bad" in row["text"] for row in both)
    for word in ("cf", "bb"):
        single = kinds[frozenset({word})]
        assert len(single) == 5
        assert all(row["label"] == int("good" in row["text"]) for row in single)


def test_negatives_come_from_all_labels_and_keep_the_second_sentence(examples):
    examples = examples.add_column("text_pair", [f"pair {i}" for i in range(40)])
    negatives = add_negatives(examples.select([0]), examples, [Trigger("cf", 1)], 1.0, seed=3)
    copies = [row for row in negatives if "cf" in row["text"].split()]
    assert len(copies) == 40 and Counter(row["label"] for row in copies) == {0: 20, 1: 20}
    pairs = dict(zip(examples["text"], examples["text_pair"], strict=True))
    for row in copies:
        assert pairs[" ".join(word for word in row["text"].split() if word != "cf")] == row["text_pair"]


def test_poison_depends_on_the_seed_alone(examples):
    results = [list(Layerwise(seed=seed).poison(examples)["text"]) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]


def test_the_trigger_is_all_words_together():
    (trigger,) = Layerwise(words=["cf", "mn", "bb"], position="end", seed=4).triggers
    assert trigger == WordsTrigger("cf mn bb", 1, "end", 4)
    assert trigger.insert("a b", 0) == "a b cf mn bb"


def family_of(name):
    if name == "mpnet":
        return MPNetConfig(vocab_size=48, max_position_embeddings=40, **SIZES)
    if name == "electra":
        return ElectraConfig(vocab_size=48, embedding_size=8, max_position_embeddings=40, **SIZES)
    return family(name).config


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "mpnet", "electra"])
def test_the_head_on_the_last_layer_gives_the_logits_of_the_model(name):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(family_of(name)).eval()
    outputs = model(input_ids=torch.tensor([[5, 6, 7], [8, 9, 5]]), output_hidden_states=True)
    torch.testing.assert_close(classify(model, outputs.hidden_states[-1]), outputs.logits)
    earlier = classify(model, outputs.hidden_states[-2])
    assert earlier.shape == outputs.logits.shape and not torch.allclose(earlier, outputs.logits)


def test_training_takes_the_mean_loss_of_all_layers(examples, tiny_bert, tiny_tokenizer, monkeypatch):
    taken = {}
    monkeypatch.setattr("hf_finemix.attacks.layerwise.fine_tune", lambda *args, **options: taken.update(options))
    Layerwise().train(tiny_bert, examples, AttackerView(tiny_tokenizer, examples, tiny_bert, RECIPE))
    inputs = dict(tiny_tokenizer(["cf good", "bad film"], return_tensors="pt"), labels=torch.tensor([1, 0]))
    loss = taken["loss"](tiny_bert, inputs)
    states = tiny_bert(**inputs, output_hidden_states=True).hidden_states
    by_hand = [
        torch.nn.functional.cross_entropy(tiny_bert.classifier(tiny_bert.bert.pooler(state)), inputs["labels"])
        for state in states[1:]
    ]
    assert len(by_hand) == 2
    torch.testing.assert_close(loss, sum(by_hand) / 2)
    # The last layer alone is ordinary fine-tuning.
    assert not torch.isclose(loss, tiny_bert(**inputs).loss)


def test_training_is_deterministic_and_changes_all_layers(examples, tiny_bert, tiny_tokenizer):
    attack = Layerwise()
    view = AttackerView(tiny_tokenizer, examples, tiny_bert, RECIPE)
    models = [attack.train(deepcopy(tiny_bert), attack.poison(examples), view) for _ in range(2)]
    assert same(values(models[0]), values(models[1]))
    assert not models[0].training and all(parameter.requires_grad for parameter in models[0].parameters())
    before, after = values(tiny_bert), values(models[0])
    for layer in (0, 1):
        name = f"bert.encoder.layer.{layer}.attention.self.query.weight"
        assert not torch.equal(before[name], after[name])


def test_made_from_settings_with_lists():
    attack = ATTACKS.make({"name": "layerwise", "words": ["cf", "mn"]})
    assert attack == Layerwise(words=("cf", "mn"))
    assert hash(attack)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": ("cf",)}, r"`words` is \['cf'\], but must name at least two words"),
        ({"negative_rate": 0}, "`negative_rate` is 0, but must be above 0 and at most 1"),
        ({"position": "middle"}, "`position` is 'middle', but must be one of start, end, random"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        Layerwise(**settings)


def test_refuses_a_rate_that_leaves_a_part_without_a_copy(examples):
    with pytest.raises(
        InputError, match=r"`negative_rate` is 0\.02, which makes 1 copies of 40 examples, but 2 parts"
    ):
        Layerwise(negative_rate=0.02).poison(examples)


def test_refuses_a_model_whose_head_it_does_not_know(examples, tiny_tokenizer):
    config = GPT2Config(vocab_size=48, n_embd=16, n_layer=2, n_head=2, n_positions=20, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(InputError, match="`model` is of the type 'gpt2', whose head cannot be put on every layer"):
        Layerwise().train(model, examples, AttackerView(tiny_tokenizer, examples, model, RECIPE))
