"""`FineMixTrainer`: a drop-in for `Trainer` that mixes exactly once and refuses what it cannot mix."""

import copy
import gc
import importlib.util
import inspect
import runpy
import weakref
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    BertModel,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import HPSearchBackend

import hf_finemix.preparation
from hf_finemix import (
    FineMixConfig,
    FineMixMixin,
    FineMixTrainer,
    FineMixTrainingArguments,
    InputError,
    fine_mix_,
    purify_embeddings_,
    score_embeddings,
)
from hf_finemix.data import load_examples, tokenize

from .files import write_csv
from .models import same, values


EXAMPLE = Path(__file__).parent.parent / "examples" / "train.py"


class OwnClassifier(FineMixMixin, BertForSequenceClassification):
    """A user's class, whose name says nothing about its head."""


class Recorder(TrainerCallback):
    """Keeps the weights that training starts from, and what was logged."""

    def __init__(self):
        self.first, self.logs = None, []

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.first = values(model)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(logs)


@pytest.fixture
def suspect(workplace):
    return BertForSequenceClassification.from_pretrained(workplace.suspect)


@pytest.fixture
def data(workplace, suspect, tiny_tokenizer):
    examples = load_examples(workplace.clean, label2id=suspect.config.label2id, num_labels=2)
    return tokenize(examples, tiny_tokenizer, 32)


@pytest.fixture
def arguments(tmp_path):
    def make(cls=FineMixTrainingArguments, **changed):
        if cls is FineMixTrainingArguments:
            changed = {"purify_top_k": 5} | changed
        settings = {
            "output_dir": str(tmp_path / "trained"),
            "max_steps": 3,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }
        return cls(**(settings | changed))

    return make


@pytest.fixture
def build(workplace, data, arguments, tiny_tokenizer):
    def make(model, args=None, **kwargs):
        kwargs = {"pretrained": workplace.base, "train_dataset": data, "processing_class": tiny_tokenizer} | kwargs
        return FineMixTrainer(model, args or arguments(), **kwargs)

    return make


def accuracy(prediction):
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


# Drop-in


@pytest.mark.parametrize("by", ["position", "keyword"])
def test_takes_every_argument_of_trainer(by, suspect, data, arguments, tiny_tokenizer, workplace):
    optimizer = torch.optim.SGD(suspect.parameters(), lr=0.1)
    given = {
        "model": suspect,
        "args": arguments(),
        "data_collator": DataCollatorWithPadding(tiny_tokenizer),
        "train_dataset": data,
        "eval_dataset": data.select(range(4)),
        "processing_class": tiny_tokenizer,
        "model_init": None,
        "compute_loss_func": None,
        "compute_metrics": accuracy,
        "callbacks": [Recorder()],
        "optimizers": (optimizer, None),
        "optimizer_cls_and_kwargs": None,
        "preprocess_logits_for_metrics": lambda logits, labels: logits,
    }
    assert list(given) == list(inspect.signature(Trainer.__init__).parameters)[1:]
    if by == "position":
        trainer = FineMixTrainer(*given.values(), pretrained=workplace.base)
    else:
        trainer = FineMixTrainer(**given, pretrained=workplace.base)
    for name in ("model", "args", "data_collator", "train_dataset", "eval_dataset", "processing_class"):
        assert getattr(trainer, name) is given[name], name
    assert trainer.compute_metrics is accuracy
    assert trainer.optimizer is optimizer
    assert given["callbacks"][0] in trainer.callback_handler.callbacks
    assert trainer.preprocess_logits_for_metrics is given["preprocess_logits_for_metrics"]
    assert all(token.token is not None for token in trainer.purify_report.tokens)
    trainer.train()
    assert trainer.state.global_step == 3


def test_callbacks_metrics_and_evaluation_work_as_in_trainer(build, suspect, data, arguments, tmp_path):
    args = arguments(
        max_steps=6,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        learning_rate=0.0,
    )
    recorder = Recorder()
    callbacks = [EarlyStoppingCallback(early_stopping_patience=2), recorder]
    trainer = build(suspect, args, eval_dataset=data, compute_metrics=accuracy, callbacks=callbacks)
    trainer.train()
    assert trainer.state.global_step == 3
    scores = [entry["eval_accuracy"] for entry in recorder.logs if "eval_accuracy" in entry]
    assert len(scores) == 3
    assert trainer.evaluate()["eval_accuracy"] == scores[0]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_reports_to_tensorboard_without_the_token(build, suspect, arguments, tmp_path):
    args = arguments(report_to="tensorboard", logging_steps=1, hub_token="hf_marker_of_the_token")
    build(suspect, args).train()
    logs = [path for path in tmp_path.rglob("events*") if path.is_file()]
    assert logs
    assert not any(b"hf_marker_of_the_token" in path.read_bytes() for path in logs)


def test_plain_training_arguments_mix_with_the_defaults_and_their_seed(
    build, suspect, arguments, workplace, tiny_tokenizer
):
    by_hand = copy.deepcopy(suspect)
    trainer = build(suspect, arguments(TrainingArguments, seed=7))
    config = FineMixConfig(seed=7)
    scores = score_embeddings(by_hand, workplace.base, tokenizer=tiny_tokenizer)
    fine_mix_(by_hand, workplace.base, config)
    purify_embeddings_(by_hand, workplace.base, config, scores)
    assert trainer.mix_report.config == config
    assert same(values(trainer.model), values(by_hand))


def test_no_arguments_at_all(suspect, workplace, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    trainer = FineMixTrainer(suspect, pretrained=workplace.base)
    assert trainer.mix_report.config == FineMixConfig(seed=42)


def test_tokenizer_of_the_data_collator_stands_in_for_a_missing_processing_class(build, suspect, tiny_tokenizer):
    trainer = build(suspect, processing_class=None, data_collator=DataCollatorWithPadding(tiny_tokenizer))
    assert all(token.token is not None for token in trainer.purify_report.tokens)


def test_model_init_gives_the_same_as_a_model(build, workplace, suspect):
    def model_init():
        return BertForSequenceClassification.from_pretrained(workplace.suspect)

    trainer = build(suspect)
    trainer.train()
    with_init = build(None, model_init=model_init)
    assert with_init.model.config.finemix
    with_init.train()
    assert with_init.model.config.finemix
    assert same(values(with_init.model), values(trainer.model))
    assert with_init.mix_report == trainer.mix_report
    assert with_init.purify_report == trainer.purify_report


def test_model_init_mixes_each_model_afresh_also_from_a_base_object(build, workplace):
    base = BertModel.from_pretrained(workplace.base)
    before = values(base)
    recorder = Recorder()
    trainer = build(
        None,
        model_init=lambda trial: BertForSequenceClassification.from_pretrained(workplace.suspect),
        pretrained=base,
        callbacks=[recorder],
    )
    first = values(trainer.model)
    trainer.train()
    assert same(recorder.first, first)
    assert same(values(base), before)


def test_model_init_that_gives_the_same_model_twice_is_refused(build, suspect):
    trainer = build(None, model_init=lambda: suspect)
    with pytest.raises(InputError, match="mixed before"):
        trainer.train()


def test_hyperparameter_search_mixes_with_the_settings_of_its_trial(build, workplace, monkeypatch):
    trainer = build(None, model_init=lambda: BertForSequenceClassification.from_pretrained(workplace.suspect))
    # What `hyperparameter_search` sets and does with Optuna, which need not be installed.
    trainer.hp_search_backend = HPSearchBackend.OPTUNA
    trainer.hp_space = attrgetter("params")
    monkeypatch.setattr("transformers.integrations.hp_params", attrgetter("params"))
    for number, ratio in enumerate((0.9, 0.1)):
        trainer.train(trial=SimpleNamespace(number=number, params={"keep_ratio": ratio}))
        assert trainer.mix_report.config.keep_ratio == ratio
        assert trainer.mix_report.kept_share == pytest.approx(ratio, abs=0.05)


def test_causal_language_model_trains(arguments, tiny_tokenizer, data, workplace):
    config = GPT2Config(vocab_size=len(tiny_tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64)
    base, model = GPT2LMHeadModel(config), GPT2LMHeadModel(config)
    texts = data.select_columns(["input_ids", "attention_mask"])
    trainer = FineMixTrainer(
        model,
        arguments(),
        DataCollatorForLanguageModeling(tiny_tokenizer, mlm=False),
        texts,
        pretrained=base,
    )
    assert trainer.purify_report.tied_output
    assert trainer.model_accepts_loss_kwargs
    before = values(model)
    assert np.isfinite(trainer.train().training_loss)
    assert not same(values(model), before)


def test_example_script_runs_with_local_folders(workplace, tmp_path, monkeypatch):
    clean = write_csv(tmp_path / "ids.csv", ["text", "label"], [("the movie is good", 1), ("the movie is bad", 0)])
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    line = ["train.py", str(workplace.suspect), str(workplace.base), str(clean), "--output", str(tmp_path / "new")]
    monkeypatch.setattr("sys.argv", [*line, "--epochs", "1"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "new").config.finemix["keep_ratio"] == 0.3


# Mixing


def test_equals_the_three_steps_by_hand(build, suspect, data, arguments, workplace, tiny_tokenizer):
    args = arguments(selection="smallest_drift", keep_ratio=0.6, mix_seed=5, mix_exclude=["layer.1"])
    by_hand = copy.deepcopy(suspect)
    trainer = build(suspect, args)
    trainer.train()

    config = FineMixConfig(0.6, "smallest_drift", 5, 5, exclude=("layer.1",))
    scores = score_embeddings(by_hand, workplace.base, tokenizer=tiny_tokenizer)
    mix_report = fine_mix_(by_hand, workplace.base, config)
    purify_report = purify_embeddings_(by_hand, workplace.base, config, scores, tokenizer=tiny_tokenizer)
    Trainer(by_hand, args, train_dataset=data, processing_class=tiny_tokenizer).train()
    assert same(values(suspect), values(by_hand))
    assert trainer.mix_report == mix_report
    assert trainer.purify_report == purify_report


def test_mixes_once_and_before_training(build, suspect, monkeypatch):
    calls = []

    def count(*args, **kwargs):
        calls.append(args)
        return fine_mix_(*args, **kwargs)

    monkeypatch.setattr(hf_finemix.trainer, "fine_mix_", count)
    before = values(suspect)
    recorder = Recorder()
    trainer = build(suspect, callbacks=[recorder])
    mixed = values(suspect)
    assert not same(mixed, before)
    trainer.train()
    trainer.train()
    assert len(calls) == 1
    assert not same(values(suspect), mixed)


def test_training_starts_from_the_mixed_weights(build, suspect):
    recorder = Recorder()
    trainer = build(suspect, callbacks=[recorder])
    mixed = values(suspect)
    trainer.train()
    assert same(recorder.first, mixed)


def test_twin_and_base_are_not_kept(build, suspect, workplace, monkeypatch):
    base = BertModel.from_pretrained(workplace.base)
    alive = [weakref.ref(base)]

    def load(*args):
        twin = load_twin(*args)
        alive.extend(weakref.ref(tensor) for tensor in twin.tensors.values())
        return twin

    load_twin = hf_finemix.preparation.load_twin
    monkeypatch.setattr(hf_finemix.preparation, "load_twin", load)
    trainer = build(suspect, pretrained=base)
    another = build(BertForSequenceClassification.from_pretrained(workplace.suspect))
    del base
    gc.collect()
    assert len(alive) > 50
    assert [ref for ref in alive if ref() is not None] == []
    assert trainer.mix_report.mixed == another.mix_report.mixed


# The loss


@pytest.mark.parametrize("cls", [BertForSequenceClassification, OwnClassifier])
def test_accumulated_batches_give_the_loss_of_one_large_batch(cls, build, arguments, workplace, data):
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    results = []
    for settings in (
        {"per_device_train_batch_size": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    ):
        model = cls.from_pretrained(workplace.suspect, **options)
        recorder = Recorder()
        args = arguments(optim="sgd", max_grad_norm=0.0, logging_steps=1, **settings)
        build(model, args, callbacks=[recorder]).train()
        results.append(([log["loss"] for log in recorder.logs if "loss" in log], values(model)))
    (losses, large), (accumulated_losses, accumulated) = results
    assert accumulated_losses == pytest.approx(losses, rel=1e-4)
    for name, tensor in large.items():
        torch.testing.assert_close(accumulated[name], tensor, rtol=1e-4, atol=1e-6)
