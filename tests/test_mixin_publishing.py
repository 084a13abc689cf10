"""`push_to_hub` of a model with the mixin: the original architecture in one commit, with what is known about it."""

import json
import re
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from hf_finemix import FineMixConfig, FineMixMixin, InputError, evaluate_model
from hf_finemix.data import load_examples
from hf_finemix.verifying import verify

from .hub import LoopbackHub, connect
from .models import same, values
from .purified import EVIDENCE, FILES, PAGE, STOCK_CARD, TOKEN, TOKENIZER, one_line


CONFIG = FineMixConfig(keep_ratio=0.4, purify_top_k=3, seed=2)


class Purifiable(FineMixMixin, BertForSequenceClassification):
    """A suspect."""


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        connect(monkeypatch, hub, tmp_path / "home", token=TOKEN)
        yield hub


@pytest.fixture
def tokenizer(workplace):
    return AutoTokenizer.from_pretrained(workplace.suspect)


@pytest.fixture
def mixed(workplace, tokenizer):
    """A model after both steps."""
    model = Purifiable.from_pretrained(workplace.suspect)
    scores = model.score_embeddings(workplace.base)
    model.fine_mix_(workplace.base, CONFIG)
    model.purify_embeddings_(workplace.base, CONFIG, scores, tokenizer=tokenizer)
    return model


def manifest_on(hub):
    return json.loads(hub.files("me/purified")["finemix_manifest.json"])


def card_on(hub):
    return hub.files("me/purified")["README.md"].decode()


def test_one_commit_of_the_original_architecture(mixed, tokenizer, hub, tmp_path):
    published = mixed.push_to_hub("me/purified", tokenizer=tokenizer, private=True, commit_message="Here it is")
    newest, _ = hub.commits("me/purified")
    assert (newest.id, newest.title) == (published.oid, "Here it is")
    assert set(newest.changed) == set(published.files) == FILES - PAGE
    assert hub.store.repositories["me/purified"].private
    assert json.loads(hub.files("me/purified")["config.json"])["architectures"] == ["BertForSequenceClassification"]
    again = AutoModelForSequenceClassification.from_pretrained("me/purified")
    assert type(again) is BertForSequenceClassification and same(values(again), values(mixed))
    assert AutoTokenizer.from_pretrained("me/purified").get_vocab() == tokenizer.get_vocab()
    for secret in (TOKEN, str(tmp_path), "Purifiable"):
        assert not [request for request in hub.received if secret.encode() in request]


def test_model_stays_as_it_was_and_can_be_published_again(mixed, hub):
    before, name = values(mixed), mixed.name_or_path
    first, second = mixed.push_to_hub("me/purified"), mixed.push_to_hub("me/purified")
    assert first.oid == second.oid and len(hub.commits("me/purified")) == 2
    assert same(values(mixed), before) and mixed.name_or_path == name and type(mixed) is Purifiable


def test_without_a_tokenizer_none_is_published(mixed, hub):
    mixed.push_to_hub("me/purified")
    assert hub.files("me/purified").keys() == FILES - PAGE - TOKENIZER | {".gitattributes"}


def test_shards(mixed, hub):
    published = mixed.push_to_hub("me/purified", max_shard_size="8KB")
    shards = {name for name in published.files if re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name)}
    assert len(shards) > 1
    assert set(published.files) == {"config.json", "model.safetensors.index.json"} | shards | EVIDENCE
    assert same(values(AutoModelForSequenceClassification.from_pretrained("me/purified")), values(mixed))
    whole = mixed.push_to_hub("me/purified")
    assert set(whole.removed) == shards | {"model.safetensors.index.json"}


def test_options_of_publish_reach_it(mixed, hub):
    head = hub.add_model("you/model", {"README.md": STOCK_CARD})
    assert mixed.push_to_hub("you/model", create_pr=True).pr_url.endswith("/you/model/discussions/1")
    mixed.push_to_hub("me/purified", revision="dev")
    assert hub.commits("you/model")[0].id == head and len(hub.commits("me/purified")) == 1
    with pytest.raises(InputError, match="hf auth login"):
        mixed.push_to_hub("me/purified", token="hf_wrong")


def test_recipe_of_the_card_mixes_the_same(mixed, hub, workplace):
    mixed.push_to_hub("me/purified")
    text = card_on(hub)
    assert "FineMixTrainer(" not in text and "fine_mix_(model, " in text
    place = {"recipe.yaml": text.split("```yaml\n")[1].split("```")[0]}
    script = text.split("```python\nimport yaml")[1].split("```")[0]
    script = script.replace('"suspect"', repr(str(workplace.suspect))).replace('"base"', repr(str(workplace.base)))
    (workplace.root / "recipe.yaml").write_text(place["recipe.yaml"])
    names = {}
    exec("import yaml" + script.replace('"recipe.yaml"', repr(str(workplace.root / "recipe.yaml"))), names)
    assert names["config"] == CONFIG and same(values(names["model"]), values(mixed))


def test_evaluations_and_what_the_publisher_states(mixed, tokenizer, hub, workplace):
    examples = load_examples(workplace.clean, label2id={"negative": 0, "positive": 1}, num_labels=2)
    suspect = BertForSequenceClassification.from_pretrained(workplace.suspect)
    evaluations = {
        name: evaluate_model(model, tokenizer, examples, max_length=32)
        for name, model in (("suspect", suspect), ("purified", mixed))
    }
    mixed.push_to_hub("me/purified", evaluations=evaluations, license="mit", language="en", tags=["movies"])
    card = ModelCard.load("me/purified")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", round(evaluations["purified"].accuracy.value, 4))
    assert (card.data.license, card.data.language) == ("mit", "en") and {"movies", "hf-finemix"} <= set(card.data.tags)
    assert "No attack known" in card.text and "Measured on 12 examples" in card.text


# What is known about the weights


def test_unchanged_since_the_mixing(mixed, hub):
    mixed.push_to_hub("me/purified")
    manifest = manifest_on(hub)
    assert not manifest["fine_tuned"] and manifest["purified_rows"]
    assert not json.loads(hub.files("me/purified")["finemix_report.json"])["fine_tuned"]
    assert "Nothing else was done." in card_on(hub)
    assert {name: manifest["inputs"][name]["name"] for name in manifest["inputs"]} == {
        "suspect": "suspect",
        "pretrained": "base",
    }


def test_mixing_alone(workplace, hub):
    model = Purifiable.from_pretrained(workplace.suspect)
    model.fine_mix_(workplace.base, CONFIG)
    model.push_to_hub("me/purified")
    assert manifest_on(hub)["purified_rows"] == [] and not manifest_on(hub)["fine_tuned"]
    assert "No word embedding was reset." in card_on(hub)


def test_reset_rows_of_an_embedding_that_is_not_mixed_are_no_training(workplace, hub):
    config = replace(CONFIG, exclude=("word_embeddings",))
    model = Purifiable.from_pretrained(workplace.suspect)
    scores = model.score_embeddings(workplace.base)
    model.fine_mix_(workplace.base, config)
    model.purify_embeddings_(workplace.base, config, scores)
    model.push_to_hub("me/purified")
    assert manifest_on(hub)["purified_rows"] and not manifest_on(hub)["fine_tuned"]


# Training with a frozen encoder moves the head alone, which is not mixed.
@pytest.mark.parametrize("name", ["bert.pooler.dense.weight", "classifier.weight"])
def test_trained_after_the_mixing(name, mixed, hub):
    with torch.no_grad():
        mixed.get_parameter(name).add_(0.01)
    mixed.push_to_hub("me/purified")
    assert manifest_on(hub)["fine_tuned"]
    text = card_on(hub)
    assert "trained it further, in a way that is not recorded here" in text and "Nothing else was done" not in text
    assert "Nothing was done to the weights after the mixing" not in text


def test_inputs_of_the_hub_are_named_with_their_commits(hub, workplace):
    commits = {
        "suspect": hub.add_model("you/suspect", workplace.suspect),
        "pretrained": hub.add_model("org/base", workplace.base),
    }
    model = Purifiable.from_pretrained("you/suspect")
    scores = model.score_embeddings("org/base")
    model.fine_mix_("org/base", CONFIG)
    model.purify_embeddings_("org/base", CONFIG, scores, frequencies="vocabulary")
    model.push_to_hub("me/purified")
    assert {name: found["commit"] for name, found in manifest_on(hub)["inputs"].items()} == commits
    assert ModelCard.load("me/purified").data.base_model == ["you/suspect", "org/base"]
    found = verify("me/purified")
    assert not found.failed() and found.moved == 0


def test_suspect_that_was_changed_in_memory_has_no_files(workplace, hub):
    model = Purifiable.from_pretrained(workplace.suspect)
    with torch.no_grad():
        model.bert.pooler.dense.bias += 0.1
    model.fine_mix_(workplace.base, CONFIG)
    model.push_to_hub("me/purified")
    suspect = manifest_on(hub)["inputs"]["suspect"]
    assert (suspect["name"], suspect["files"]) == ("suspect", [])


def test_file_of_token_counts_is_named_without_its_path(workplace, tokenizer, hub):
    corpus = workplace.root / "corpus.txt"
    corpus.write_text("a good movie\n")
    model = Purifiable.from_pretrained(workplace.suspect)
    scores = model.score_embeddings(workplace.base, str(corpus), tokenizer=tokenizer)
    model.fine_mix_(workplace.base, CONFIG)
    model.purify_embeddings_(workplace.base, CONFIG, scores, frequencies=str(corpus), tokenizer=tokenizer)
    model.push_to_hub("me/purified")
    assert manifest_on(hub)["frequencies"] == "corpus.txt"
    assert not [request for request in hub.received if str(workplace.root).encode() in request]


def test_model_that_was_not_mixed_is_refused(workplace, mixed, hub):
    mixed.save_pretrained(workplace.root / "mixed")
    for folder in (workplace.suspect, workplace.root / "mixed"):
        model = Purifiable.from_pretrained(folder)
        with pytest.raises(InputError, match=r"not mixed in this process.*call `fine_mix_` first") as error:
            model.push_to_hub("me/purified")
        assert one_line(error)
    assert not hub.requests


def test_reset_before_the_mixing_is_not_published(workplace, tokenizer, hub):
    model = Purifiable.from_pretrained(workplace.suspect)
    model.purify_embeddings_(workplace.base, CONFIG, tokenizer=tokenizer)
    model.fine_mix_(workplace.base, CONFIG)
    with pytest.raises(InputError, match="reset before the model was mixed"):
        model.push_to_hub("me/purified")
    assert not hub.requests


def test_floor_of_the_scores_is_the_one_that_is_recorded(workplace, tokenizer):
    model = Purifiable.from_pretrained(workplace.suspect)
    scores = model.score_embeddings(workplace.base, tokenizer=tokenizer, frequency_floor=10**9)
    model.fine_mix_(workplace.base, CONFIG)
    model.purify_embeddings_(workplace.base, CONFIG, scores, tokenizer=tokenizer)
    model.push_to_hub("me/purified", tokenizer=tokenizer)
    found = verify("me/purified", suspect=workplace.suspect, pretrained=workplace.base)
    assert not found.failed(strict=True)


def test_saving_does_not_publish(workplace, tmp_path, hub):
    with pytest.raises(InputError, match="`save_pretrained` does not publish"):
        Purifiable.from_pretrained(workplace.suspect).save_pretrained(tmp_path / "out", push_to_hub=True)
    assert not hub.requests and not (tmp_path / "out").exists()


def test_one_tag_is_one_tag(mixed, hub):
    mixed.push_to_hub("me/purified", tags="films")
    assert "films" in ModelCard(hub.files("me/purified")["README.md"].decode()).data.tags
