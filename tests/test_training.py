"""`fine_tune`: the recipe reaches the Trainer, standard output stays clean, dtypes come back as they were."""

import copy
import dataclasses
import tempfile

import pytest
import torch
from transformers import BertForSequenceClassification, TrainerCallback

from hf_finemix import FineMixConfig, FineMixTrainer, FineMixTrainingArguments, InputError, fine_mix_
from hf_finemix.data import load_examples, tokenize
from hf_finemix.results import Recipe
from hf_finemix.training import fine_tune, train


RECIPE = Recipe(epochs=2, learning_rate=1e-3, batch_size=4, max_length=32, frequencies="vocabulary", seed=3)
MIXING = {"trainer_class": FineMixTrainer, "arguments_class": FineMixTrainingArguments}


class Start(TrainerCallback):
    """Keeps the weights that training starts from."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def suspect(workplace):
    return BertForSequenceClassification.from_pretrained(workplace.suspect)


@pytest.fixture
def examples(workplace, suspect):
    return load_examples(workplace.clean, label2id=suspect.config.label2id, num_labels=2)


def same(left, right):
    return all(torch.equal(tensor, right.state_dict()[name]) for name, tensor in left.state_dict().items())


def test_trains_in_place_and_gives_the_model_back_for_evaluation(suspect, tiny_tokenizer, examples):
    before = copy.deepcopy(suspect)
    trainer = fine_tune(suspect, tiny_tokenizer, examples, RECIPE)
    assert trainer.model is suspect
    assert not suspect.training
    assert not same(suspect, before)
    assert trainer.state.global_step == 6
    assert (trainer.args.learning_rate, trainer.args.seed) == (1e-3, 3)
    assert trainer.args.per_device_train_batch_size == 4
    assert trainer.args.train_sampling_strategy == "random"


def test_tokenised_inputs_train_the_same_bits(suspect, tiny_tokenizer, examples):
    other = copy.deepcopy(suspect)
    fine_tune(suspect, tiny_tokenizer, examples, RECIPE)
    inputs = tokenize(examples, tiny_tokenizer, RECIPE.max_length)
    trainer = train(other, tiny_tokenizer, inputs, dataclasses.replace(RECIPE, max_length=1))
    assert trainer.model is other and not other.training and same(suspect, other)


def test_further_settings_of_the_recipe_reach_the_trainer(suspect, tiny_tokenizer, examples):
    recipe = dataclasses.replace(RECIPE, warmup=0.5, group_by_length=True)
    trainer = fine_tune(suspect, tiny_tokenizer, examples, recipe)
    assert trainer.args.get_warmup_steps(trainer.state.max_steps) == 3
    assert trainer.args.train_sampling_strategy == "group_by_length"


def test_seed_decides_the_result(suspect, tiny_tokenizer, examples):
    one, two, other = suspect, copy.deepcopy(suspect), copy.deepcopy(suspect)
    fine_tune(one, tiny_tokenizer, examples, RECIPE)
    torch.rand(5)
    fine_tune(two, tiny_tokenizer, examples, RECIPE)
    fine_tune(other, tiny_tokenizer, examples, dataclasses.replace(RECIPE, seed=4))
    assert same(one, two)
    assert not same(one, other)


def test_half_precision_is_trained_in_float32_and_given_back(workplace, tiny_tokenizer, examples):
    model = BertForSequenceClassification.from_pretrained(workplace.suspect, dtype=torch.bfloat16)
    wide = copy.deepcopy(model).float()
    fine_tune(model, tiny_tokenizer, examples, RECIPE)
    fine_tune(wide, tiny_tokenizer, examples, RECIPE)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert same(model, wide.bfloat16())


def test_half_precision_is_mixed_before_it_is_widened(workplace, tiny_tokenizer, examples):
    model = BertForSequenceClassification.from_pretrained(workplace.suspect, dtype=torch.bfloat16)
    by_hand = copy.deepcopy(model)
    fine_mix_(by_hand, workplace.base, FineMixConfig(0.5, seed=3))
    start = Start()
    options = {"arguments": {"keep_ratio": 0.5, "purify_top_k": 0}, "pretrained": workplace.base}
    fine_tune(model, tiny_tokenizer, examples, RECIPE, callbacks=[start], **MIXING, **options)
    for name, tensor in by_hand.float().state_dict().items():
        assert torch.equal(start.weights[name], tensor), name


def test_other_trainer_gets_its_arguments(suspect, workplace, tiny_tokenizer, examples):
    arguments = {"keep_ratio": 0.6, "mix_seed": 9, "purify_top_k": 4}
    trainer = fine_tune(
        suspect, tiny_tokenizer, examples, RECIPE, arguments=arguments, pretrained=workplace.base, **MIXING
    )
    assert trainer.mix_report.config == FineMixConfig(0.6, seed=9, purify_top_k=4)
    assert len(trainer.purify_report.tokens) == 4


def test_refusal_of_the_trainer_comes_through(suspect, tiny_tokenizer, examples):
    with pytest.raises(InputError, match="`pretrained` is missing"):
        fine_tune(suspect, tiny_tokenizer, examples, RECIPE, **MIXING)


@pytest.mark.parametrize("progress", [None, "fine-tuning"])
def test_standard_output_stays_clean(progress, suspect, tiny_tokenizer, examples, capsys):
    fine_tune(suspect, tiny_tokenizer, examples, RECIPE, progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("fine-tuning:" in err) == (progress is not None)


def test_leaves_no_files(suspect, tiny_tokenizer, examples, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(folder)
    trainer = fine_tune(suspect, tiny_tokenizer, examples, RECIPE)
    assert trainer.args.output_dir.startswith(str(folder))
    assert list(folder.iterdir()) == []
