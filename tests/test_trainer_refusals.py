"""What `FineMixTrainer` refuses: with one line that says why, and with the model as it was."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    TrainingArguments,
)

from hf_finemix import FineMixTrainer, FineMixTrainingArguments, InputError, fine_mix_, preparation

from .models import same, values


@pytest.fixture
def suspect(workplace):
    return BertForSequenceClassification.from_pretrained(workplace.suspect)


@pytest.fixture
def arguments(tmp_path):
    def make(cls=FineMixTrainingArguments, **settings):
        return cls(str(tmp_path / "trained"), report_to="none", **settings)

    return make


@pytest.fixture
def build(workplace, arguments, tiny_tokenizer):
    def make(model, args=None, **kwargs):
        kwargs = {"pretrained": workplace.base, "processing_class": tiny_tokenizer} | kwargs
        return FineMixTrainer(model, args or arguments(), **kwargs)

    return make


def refused(suspect, error, match, make):
    before, config = values(suspect), suspect.config.to_dict()
    with pytest.raises(error, match=match) as caught:
        make()
    assert same(values(suspect), before)
    # The one setting that `Trainer` sets by itself.
    assert suspect.config.to_dict() | {"use_cache": None} == config | {"use_cache": None}
    assert "finemix" not in config
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("is_first", [True, False])
def test_who_is_given_weights_by_another_mixes_none(suspect, workplace, arguments, monkeypatch, is_first):
    monkeypatch.setattr(preparation, "is_fsdp_enabled", lambda: True)
    monkeypatch.setattr(preparation, "is_local_dist_rank_0", lambda: is_first)
    found = preparation.prepare(suspect, arguments(), workplace.base, None)
    assert found.twin.tensors
    with torch.device("meta"):
        empty = BertForSequenceClassification(suspect.config)
    if is_first:
        with pytest.raises(InputError, match="holds no data"):
            preparation.prepare(empty, arguments(), workplace.base, None)
    else:
        assert preparation.prepare(empty, arguments(), workplace.base, None) is None


def test_missing_base_is_refused(suspect, arguments):
    refused(suspect, InputError, "`pretrained` is missing", lambda: FineMixTrainer(suspect, arguments()))


def test_wrong_base_is_refused_before_anything_changes(build, suspect, tiny_tokenizer):
    other = BertModel(BertConfig(vocab_size=len(tiny_tokenizer), hidden_size=16, num_attention_heads=2))
    refused(suspect, InputError, "hidden size", lambda: build(suspect, pretrained=other))


def test_damaged_base_is_refused_before_anything_changes(build, suspect, workplace):
    base = BertModel.from_pretrained(workplace.base)
    with torch.no_grad():
        base.pooler.dense.weight[0, 0] = float("nan")
    refused(suspect, InputError, "NaN", lambda: build(suspect, pretrained=base))


def test_base_that_is_not_there_is_refused(build, suspect, tmp_path):
    refused(suspect, InputError, "nowhere", lambda: build(suspect, pretrained=tmp_path / "nowhere"))


def test_bad_ratio_in_the_arguments_is_refused(build, suspect, arguments):
    args = arguments()
    args.keep_ratio = 1.5
    refused(suspect, InputError, "`keep_ratio` is 1.5", lambda: build(suspect, args))


def test_word_list_without_a_tokenizer_is_refused(build, suspect, arguments):
    args = arguments(frequencies="wordfreq")
    refused(suspect, InputError, "processing_class", lambda: build(suspect, args, processing_class=None))


def test_what_trainer_refuses_leaves_the_model_unmixed(build, suspect, arguments):
    refused(suspect, TypeError, "tokenizer", lambda: build(suspect, tokenizer=None))
    refused(suspect, ValueError, "not both", lambda: build(suspect, model_init=lambda: suspect))
    refused(suspect, ValueError, "eval_dataset", lambda: build(suspect, arguments(eval_strategy="steps")))


def test_no_model_is_refused_as_by_trainer(build):
    with pytest.raises(RuntimeError, match="either a `model` or `model_init`"):
        build(None)


def test_peft_model_is_refused(build, suspect):
    model = get_peft_model(suspect, LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    before = values(model)
    with pytest.raises(InputError, match="merge_and_unload"):
        build(model)
    assert same(values(model), before)


def test_model_of_another_library_is_refused(build):
    with pytest.raises(InputError, match="`model` is a Linear"):
        build(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="`model` is a str"):
        build("someone/suspect")


def test_mixed_model_is_refused_unless_allowed(build, suspect, workplace, arguments):
    fine_mix_(suspect, workplace.base)
    before = values(suspect)
    with pytest.raises(InputError, match="mixed before"):
        build(suspect)
    with pytest.raises(InputError, match="mixed before"):
        build(suspect, arguments(TrainingArguments))
    assert same(values(suspect), before)
    trainer = build(suspect, arguments(allow_mixed=True, keep_ratio=0.0))
    assert not same(values(suspect), before)
    # Scores of a model that was mixed before would be those of the wrong weights.
    assert trainer.purify_report.tokens == ()


def test_saved_model_is_refused_as_a_suspect(build, suspect, tmp_path):
    build(suspect).save_model()
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "trained")
    with pytest.raises(InputError, match="mixed before"):
        build(model)
