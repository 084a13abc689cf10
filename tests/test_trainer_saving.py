"""What `FineMixTrainer` writes: checkpoints that resume exactly, no pickle of the arguments, no token."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from hf_finemix import FineMixTrainer, FineMixTrainingArguments
from hf_finemix.data import load_examples, tokenize


TOKEN = "hf_marker_of_the_token"


@dataclass
class OwnArguments(FineMixTrainingArguments):
    """A user's arguments class with a field that JSON does not know."""

    cache: Path = field(default=Path("cache"))


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
