"""What `FineMixTrainer` writes and uploads: checkpoints that resume exactly, no pickle of the arguments, no token."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.utils import filter_repo_objects
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from hf_finemix import FineMixTrainer, FineMixTrainingArguments, InputError
from hf_finemix.data import load_examples, tokenize


TOKEN = "hf_marker_of_the_token"


@dataclass
class OwnArguments(FineMixTrainingArguments):
    """A user's arguments class with a field that JSON does not know."""

    cache: Path = field(default=Path("cache"))


@dataclass
class FakeHub:
    """Stands in for the Hub: keeps what would be uploaded."""

    uploads: list[dict] = field(default_factory=list)
    created: list[str] = field(default_factory=list)

    def create_repo(self, name, **kwargs):
        self.created.append(name)
        return SimpleNamespace(repo_id=f"me/{name}")

    def upload_folder(self, folder_path, ignore_patterns=None, **kwargs):
        files = (str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file())
        self.uploads.append(kwargs | {"files": set(filter_repo_objects(files, ignore_patterns=ignore_patterns))})


@pytest.fixture
def hub(monkeypatch):
    hub = FakeHub()
    monkeypatch.setattr("transformers.trainer.hf_api", lambda: hub)
    return hub


@pytest.fixture
def build(workplace, tiny_tokenizer, tmp_path):
    """Makes a trainer for a fresh suspect; 6 steps, with a checkpoint at 3."""

    def make(folder="trained", cls=FineMixTrainingArguments, by_init=False, suspect=workplace.suspect, **changed):
        settings = {
            "output_dir": str(tmp_path / folder),
            "max_steps": 6,
            "save_strategy": "steps",
            "save_steps": 3,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "report_to": "none",
            "disable_tqdm": True,
        }
        model = BertForSequenceClassification.from_pretrained(suspect)
        examples = load_examples(workplace.clean, label2id=model.config.label2id, num_labels=2)

        def model_init():
            return BertForSequenceClassification.from_pretrained(suspect)

        return FineMixTrainer(
            None if by_init else model,
            cls(**(settings | changed)),
            model_init=model_init if by_init else None,
            pretrained=workplace.base,
            train_dataset=tokenize(examples, tiny_tokenizer, 32),
            processing_class=tiny_tokenizer,
        )

    return make


def files(folder):
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


# Checkpoints


@pytest.mark.parametrize("by_init", [False, True], ids=["model", "model_init"])
def test_resumed_run_equals_an_uninterrupted_one(by_init, build, tmp_path):
    whole = build("whole", by_init=by_init)
    whole.train()
    resumed = build("resumed", by_init=by_init)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert resumed.state.global_step == whole.state.global_step == 6
    assert whole.model.config.hidden_dropout_prob > 0
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


def test_checkpoint_records_the_mixing_and_keeps_the_architecture(build, tmp_path):
    trainer = build(keep_ratio=0.25, mix_seed=3)
    trainer.train()
    config = json.loads((tmp_path / "trained" / "checkpoint-3" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["finemix"] == trainer.mix_report.config.to_dict() | {"pretrained": "base", "mask_version": 1}
    assert config["finemix"]["keep_ratio"] == 0.25
    assert config["finemix"]["seed"] == 3


def test_saved_folder_loads_with_transformers(build, tmp_path):
    trainer = build(save_strategy="no")
    trainer.train()
    trainer.save_model()
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "trained")
    assert type(model) is BertForSequenceClassification
    assert AutoTokenizer.from_pretrained(tmp_path / "trained").get_vocab() == trainer.processing_class.get_vocab()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


# Pickles and tokens


@pytest.mark.parametrize("cls", [FineMixTrainingArguments, TrainingArguments, OwnArguments])
def test_arguments_are_saved_as_json_without_the_token(cls, build, tmp_path):
    trainer = build(cls=cls, hub_token=TOKEN)
    trainer.train()
    trainer.save_model()
    trainer.save_model(str(tmp_path / "elsewhere"))
    for folder in ("trained", "trained/checkpoint-3", "trained/checkpoint-6", "elsewhere"):
        saved = json.loads((tmp_path / folder / "training_args.json").read_text())
        assert saved["max_steps"] == 6
        assert saved["hub_token"] == "<HUB_TOKEN>"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "training_args.bin" not in {path.name for path in written}
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
    assert trainer.args.hub_token == TOKEN


def test_token_is_out_of_reach_of_a_save_and_back_when_it_fails(build, monkeypatch):
    trainer = build(hub_token=TOKEN)

    def fail(trainer, *args):
        assert trainer.args.hub_token is None
        raise OSError("disk full")

    monkeypatch.setattr(Trainer, "_save", fail)
    with pytest.raises(OSError, match="disk full"):
        trainer.save_model()
    assert trainer.args.hub_token == TOKEN


# The Hub


def test_push_uploads_the_model_but_no_pickle(build, hub, tmp_path):
    trainer = build(push_to_hub=True, hub_token=TOKEN)
    trainer.train()
    (tmp_path / "trained" / "training_args.bin").write_bytes(b"of an earlier run with Trainer")
    assert "checkpoint-3/optimizer.pt" in files(tmp_path / "trained")
    trainer.push_to_hub()
    (upload,) = hub.uploads
    assert upload["repo_id"] == "me/trained"
    assert upload["token"] == TOKEN
    assert upload["files"] == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training_args.json",
    }
    tags = ModelCard.load(tmp_path / "trained" / "README.md").data.tags
    assert {"hf-finemix", "fine-mixing", "backdoor-defense"} <= set(tags)


def test_saving_pushes_once_when_asked_to(build, hub):
    trainer = build(push_to_hub=True)
    trainer.train()
    assert hub.uploads == []
    trainer.save_model()
    assert len(hub.uploads) == 1


@pytest.mark.parametrize("name", ["run-0/checkpoint-3/optimizer.pt", "pytorch_model.bin", "rng_state_0.pth"])
def test_pickle_in_the_way_of_a_push_is_refused(name, build, hub, tmp_path):
    trainer = build(max_steps=1)
    path = tmp_path / "trained" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a pickle")
    with pytest.raises(InputError, match=f"`output_dir` holds '{name}'"):
        trainer.push_to_hub()
    # And before a long training, if the push is announced.
    with pytest.raises(InputError, match=f"`output_dir` holds '{name}'"):
        build(push_to_hub=True)
    assert not hub.uploads
    assert not hub.created


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
@pytest.mark.parametrize("cls", [FineMixTrainingArguments, TrainingArguments])
def test_pushing_half_trained_weights_is_refused(cls, strategy, build, hub):
    with pytest.raises(InputError, match=f"`hub_strategy` is '{strategy}'.*use 'end'"):
        build(cls=cls, push_to_hub=True, hub_strategy=strategy)
    assert not hub.created


def test_refused_suspect_leaves_no_repository_behind(build, hub, tmp_path):
    build().save_model()
    with pytest.raises(InputError, match="mixed before"):
        build(suspect=tmp_path / "trained", push_to_hub=True)
    assert not hub.created
