"""`FineMixTrainer` and the Hub: one commit without checkpoints, pickles, paths or tokens; a card that fits."""

import json
import os
import subprocess
import sys
from concurrent.futures import Future

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel, TrainingArguments

from hf_finemix import FineMixTrainer, FineMixTrainingArguments, InputError, evaluate_model
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.data import load_examples, tokenize
from hf_finemix.publishing import Published
from hf_finemix.results import load_report
from hf_finemix.verifying import verify

from .hub import LoopbackHub, connect, environment
from .models import same, values
from .purified import EVIDENCE, FILES, PAGE, STOCK_CARD, TOKEN, one_line, read


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        yield hub


@pytest.fixture(autouse=True)
def client(hub, monkeypatch, tmp_path):
    # The token is the one of the training arguments alone.
    connect(monkeypatch, hub, tmp_path / "home")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "trained"


@pytest.fixture
def examples(workplace):
    return load_examples(workplace.clean, label2id={"negative": 0, "positive": 1}, num_labels=2)


@pytest.fixture
def build(workplace, folder, examples):
    """Makes a trainer of two steps that will publish as me/purified."""

    def make(cls=FineMixTrainingArguments, suspect=workplace.suspect, pretrained=workplace.base, change=0, **changed):
        settings = {
            "output_dir": str(folder),
            "max_steps": 2,
            "save_strategy": "no",
            "per_device_train_batch_size": 4,
            "report_to": "none",
            "disable_tqdm": True,
            "push_to_hub": True,
            "hub_token": TOKEN,
            "hub_model_id": "me/purified",
        }
        model = BertForSequenceClassification.from_pretrained(suspect)
        with torch.no_grad():
            model.bert.pooler.dense.bias += change
        tokenizer = AutoTokenizer.from_pretrained(workplace.suspect)
        data = tokenize(examples, tokenizer, 32)
        return FineMixTrainer(
            model,
            cls(**(settings | changed)),
            pretrained=pretrained,
            train_dataset=data,
            eval_dataset=data,
            processing_class=tokenizer,
            compute_metrics=lambda given: {"accuracy": np.mean(given.predictions.argmax(-1) == given.label_ids)},
        )

    return make


@pytest.fixture
def push(build):
    """Trains and publishes."""

    def push(**changed):
        trainer = build(**changed)
        trainer.train()
        trainer.push_to_hub()
        return trainer

    return push


def manifest_on(hub):
    return json.loads(hub.files("me/purified")["finemix_manifest.json"])


def settings_on(hub):
    text = hub.files("me/purified")["README.md"].decode()
    return yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])


# What is uploaded


def test_one_commit_of_the_model_and_its_evidence(build, hub, folder, tmp_path):
    (tmp_path / "corpus.txt").write_text("a good movie\n")
    more = {"save_strategy": "steps", "save_steps": 1, "frequencies": str(tmp_path / "corpus.txt")}
    trainer = build(hub_private_repo=True, **more)
    trainer.train()
    for name in ("training_args.bin", "rng_state.pth", "runs/events.out", "pytorch_model.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"of an earlier run with Trainer")
    assert {"checkpoint-1/optimizer.pt", "checkpoint-2/model.safetensors"} <= read(folder).keys()
    assert len(hub.commits("me/purified")) == 1
    published = trainer.push_to_hub()
    newest, _ = hub.commits("me/purified")
    assert isinstance(published, Published) and (newest.id, newest.title) == (published.oid, "End of training")
    assert set(newest.changed) == set(published.files) == FILES
    assert hub.files("me/purified").keys() == FILES | {".gitattributes"}
    assert hub.store.repositories["me/purified"].private
    assert (folder / "training_args.json").is_file()
    # Neither the token nor a path of this machine, in nothing that was sent.
    for secret in (TOKEN, str(tmp_path)):
        assert not [request for request in hub.received if secret.encode() in request]
    assert not [name for name, content in read(tmp_path).items() if TOKEN.encode() in content]
    assert trainer.args.hub_token == TOKEN


def test_published_model_loads_without_this_package(push, hub, tmp_path):
    trainer = push(hub_private_repo=True)
    script = """
import sys
sys.modules["hf_finemix"] = None  # makes every import of it fail
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model, info = AutoModelForSequenceClassification.from_pretrained("me/purified", output_loading_info=True)
assert type(model).__module__.startswith("transformers."), type(model).__module__
assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
assert AutoTokenizer.from_pretrained("me/purified")("a good movie")["input_ids"]
save_file(dict(model.named_parameters()), sys.argv[1])
"""
    variables = os.environ | environment(hub, tmp_path / "other home", HF_TOKEN=TOKEN)
    command = [sys.executable, "-c", script, str(tmp_path / "seen.safetensors")]
    subprocess.run(command, check=True, env=variables, capture_output=True, text=True, timeout=300)
    assert same(load_file(tmp_path / "seen.safetensors"), values(trainer.model))


def test_published_model_loads_here(push, hub):
    trainer = push()
    again = BertForSequenceClassification.from_pretrained("me/purified")
    assert same(values(again), values(trainer.model))
    assert AutoTokenizer.from_pretrained("me/purified").get_vocab() == trainer.processing_class.get_vocab()
    assert not verify("me/purified").failed()


def test_branch_of_the_arguments(push, hub):
    push(hub_revision="dev")
    assert len(hub.commits("me/purified")) == 1
    assert set(hub.commits("me/purified", "dev")[0].changed) == FILES


def test_name_is_that_of_the_folder_by_default(push, hub):
    push(hub_model_id=None)
    assert set(hub.commits("me/trained")[0].changed) == FILES


def test_pull_request(build, hub):
    head = hub.add_model("you/model", {"README.md": STOCK_CARD})
    trainer = build(push_to_hub=False, hub_model_id="you/model")
    published = trainer.push_to_hub(create_pr=True)
    assert published.pr_url == f"{hub.endpoint}/you/model/discussions/1" and hub.commits("you/model")[0].id == head


def test_saving_pushes_once_when_asked_to(build, hub, folder, tmp_path):
    trainer = build()
    trainer.train()
    assert len(hub.commits("me/purified")) == 1
    trainer.save_model()
    assert [commit.title for commit in hub.commits("me/purified")] == ["Model save", "initial commit"]
    trainer.push_to_hub()
    trainer.save_model(str(tmp_path / "elsewhere"))
    assert len(hub.commits("me/purified")) == 2


def test_further_training_is_another_commit(push, hub):
    trainer = push()
    trainer.train()
    trainer.push_to_hub(commit_message="More")
    newest = hub.commits("me/purified")[0]
    assert len(hub.commits("me/purified")) == 3 and newest.title == "More"
    assert {"model.safetensors", "finemix_manifest.json"} <= set(newest.changed)
    assert same(values(BertForSequenceClassification.from_pretrained("me/purified")), values(trainer.model))


def test_not_blocking(build, hub):
    future = build().push_to_hub(blocking=False)
    assert isinstance(future, Future)
    assert future.result(timeout=60).oid == hub.commits("me/purified")[0].id


# What the card says


def test_recipe_of_the_card_gives_the_same_settings(push, hub, tmp_path):
    mixing = {"keep_ratio": 0.4, "selection": "smallest_drift", "mix_seed": 7, "purify_top_k": 3}
    others = {"frequency_floor": 10, "mix_exclude": ["pooler"], "learning_rate": 3e-4, "weight_decay": 0.02}
    trainer = push(seed=5, lr_scheduler_type="cosine", warmup_steps=1, **mixing, **others)
    settings = settings_on(hub)
    again = FineMixTrainingArguments(str(tmp_path / "again"), **settings)
    assert again.fine_mix_config() == trainer.args.fine_mix_config() == trainer.mix_report.config
    names = ("seed", "learning_rate", "weight_decay", "max_steps", "lr_scheduler_type", "warmup_steps", "frequencies")
    for name in (*names, "per_device_train_batch_size", "num_train_epochs"):
        assert getattr(again, name) == getattr(trainer.args, name), name
    assert not [name for name in settings if name.startswith("hub") or "dir" in name or "token" in name]
    text = hub.files("me/purified")["README.md"].decode()
    assert "FineMixTrainer(" in text and "# purified\n" in text and "fine-tuned on the clean data below" in text
    assert json.loads(hub.files("me/purified")["finemix_report.json"])["made_by"] == "FineMixTrainer"


def test_plain_arguments_have_a_recipe_too(push, hub, tmp_path):
    trainer = push(cls=TrainingArguments, hub_strategy="end", seed=3)
    again = FineMixTrainingArguments(str(tmp_path / "again"), **settings_on(hub))
    assert again.fine_mix_config() == trainer.mix_report.config and again.seed == trainer.args.seed == 3


def test_untrained_model_is_not_called_trained(build, hub):
    build().push_to_hub()
    assert not manifest_on(hub)["fine_tuned"]
    assert "The result was not fine-tuned." in hub.files("me/purified")["README.md"].decode()
    assert not verify("me/purified").failed()


def test_metrics_of_the_script(build, hub):
    trainer = build()
    trainer.train()
    found = trainer.evaluate()
    trainer.push_to_hub()
    text = hub.files("me/purified")["README.md"].decode()
    assert "## Metrics of the training script" in text and f"{found['eval_accuracy']:.4f}" in text
    report = json.loads(hub.files("me/purified")["finemix_report.json"])
    assert report["metrics"] == {name: found[name] for name in ("eval_loss", "eval_accuracy")}
    assert ModelCard(text).data.eval_results is None


def test_evaluations_give_figures_and_a_model_index(build, hub, examples, tiny_tokenizer, workplace):
    def measure(model):
        return evaluate_model(model, tiny_tokenizer, examples, [Trigger("cf", 1, "start", 0)], max_length=32)

    trainer = build()
    evaluations = {"suspect": measure(BertForSequenceClassification.from_pretrained(workplace.suspect))}
    trainer.train()
    evaluations["purified"] = measure(trainer.model)
    trainer.push_to_hub(evaluations=evaluations, license="mit", language="en", tags=["movies"])
    card = ModelCard.load("me/purified")
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results["accuracy"] == round(evaluations["purified"].accuracy.value, 4)
    assert {"attack_success_rate", "robust_accuracy"} <= results.keys()
    assert (card.data.license, card.data.language) == ("mit", "en") and {"movies", "hf-finemix"} <= set(card.data.tags)
    assert "| suspect |" in card.text and "| purified |" in card.text and "`cf`" in card.text
    assert "Not evaluated" not in card.text


# Where the model came from


def test_inputs_of_the_hub_are_named_with_their_commits(push, hub, workplace):
    inputs = {"you/suspect": workplace.suspect, "org/base": workplace.base}
    commits = {name: hub.add_model(name, folder) for name, folder in inputs.items()}
    push(suspect="you/suspect", pretrained="org/base")
    card = ModelCard.load("me/purified")
    assert card.data.base_model == ["you/suspect", "org/base"]
    for part, name in (("suspect", "you/suspect"), ("pretrained", "org/base")):
        found = manifest_on(hub)["inputs"][part]
        assert (found["repo_id"], found["commit"]) == (name, commits[name])
        assert {"config.json", "model.safetensors"} <= {file["name"] for file in found["files"]}
        assert f"/{name}/tree/{commits[name]}) at commit `{commits[name]}`" in card.text
    found = verify("me/purified")
    assert not found.failed(strict=True) and found.fine_tuned


@pytest.mark.parametrize("loaded", [False, True])
def test_inputs_in_folders_are_named_without_their_paths(loaded, push, hub, workplace, tmp_path):
    push(pretrained=BertModel.from_pretrained(workplace.base) if loaded else workplace.base)
    assert not [request for request in hub.received if str(tmp_path).encode() in request]
    for part, name in (("suspect", "suspect"), ("pretrained", "base")):
        found = manifest_on(hub)["inputs"][part]
        assert (found["name"], found["repo_id"], found["commit"]) == (name, None, None)
        assert {file["name"] for file in found["files"]} == FILES - EVIDENCE - PAGE
    assert "| suspect | suspect (not from the Hub) |" in hub.files("me/purified")["README.md"].decode()


def test_suspect_that_was_changed_in_memory_has_no_files(push, hub, workplace):
    hub.add_model("you/suspect", workplace.suspect)
    push(suspect="you/suspect", change=0.1)
    inputs = manifest_on(hub)["inputs"]
    assert (inputs["suspect"]["name"], inputs["suspect"]["files"]) == ("you/suspect", [])
    assert (inputs["suspect"]["repo_id"], inputs["suspect"]["commit"]) == (None, None)
    assert ModelCard.load("me/purified").data.base_model is None


# What is refused


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
@pytest.mark.parametrize("cls", [FineMixTrainingArguments, TrainingArguments])
def test_pushing_half_trained_weights_is_refused(cls, strategy, build, hub):
    with pytest.raises(InputError, match=f"`hub_strategy` is '{strategy}'.*use 'end'"):
        build(cls=cls, hub_strategy=strategy)
    assert not hub.requests


def test_refused_suspect_leaves_no_repository_behind(build, hub, folder):
    build(push_to_hub=False).save_model()
    with pytest.raises(InputError, match="mixed before"):
        build(suspect=folder)
    assert not hub.store.repositories


@pytest.mark.parametrize(
    ("token", "message"), [("hf_wrong", "hf auth login"), ("hf_reader", "may not write to 'me/purified'")]
)
def test_bad_token_is_refused_before_the_training(token, message, build, hub):
    hub.add_user("me", "hf_reader", role="read")
    with pytest.raises(InputError, match=message) as error:
        build(hub_token=token)
    assert one_line(error) and not hub.store.repositories


def test_card_of_a_model_that_was_not_saved_is_refused(build, folder):
    with pytest.raises(
        InputError, match="does not hold the model as it is now; call `save_model\\(\\)` first"
    ) as error:
        build(push_to_hub=False).create_model_card()
    assert one_line(error) and not read(folder)


def test_card_keeps_what_its_owner_wrote(build, hub, folder):
    trainer = build(push_to_hub=False)
    trainer.save_model()
    trainer.create_model_card()
    (folder / "README.md").write_text((folder / "README.md").read_text() + "\n## Contact\n\nWrite to me.\n")
    trainer.push_to_hub()
    assert ModelCard.load("me/purified").text.strip().endswith("## Contact\n\nWrite to me.")
    assert (folder / "README.md").read_text().strip().endswith("## Contact\n\nWrite to me.")


def test_weights_of_an_earlier_run_are_not_described(build, folder):
    build(push_to_hub=False).save_model()
    later = build(push_to_hub=False)
    later.train()
    with pytest.raises(InputError, match="does not hold the model as it is now"):
        later.create_model_card()


def test_weights_that_changed_outside_of_the_training_count_as_fine_tuned(build, folder):
    trainer = build(push_to_hub=False)
    trainer.model.classifier.bias.data += 1
    trainer.save_model()
    trainer.create_model_card()
    assert load_report(folder).fine_tuned


def test_figures_of_other_triggers_are_not_set_side_by_side(build, tiny_tokenizer, workplace):
    trainer = build(push_to_hub=False)
    trainer.save_model()
    examples = load_examples(workplace.clean, label2id=trainer.model.config.label2id, num_labels=2)
    figures = {
        name: evaluate_model(trainer.model, tiny_tokenizer, examples, [Trigger(word, 1)])
        for name, word in (("suspect", "cf"), ("purified", "mn"))
    }
    with pytest.raises(InputError, match="not all of the same triggers"):
        trainer.create_model_card(evaluations=figures)


def test_path_of_a_base_object_is_not_published(build, folder, workplace, monkeypatch):
    monkeypatch.chdir(workplace.root)
    (workplace.root / "secret" / "deep").mkdir(parents=True)
    workplace.base.rename(workplace.root / "secret" / "deep" / "base")
    trainer = build(push_to_hub=False, pretrained=BertModel.from_pretrained("secret/deep/base"))
    trainer.save_model()
    trainer.create_model_card()
    assert not [path.name for path in folder.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
