import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, BertPreTrainedModel

from hf_finemix import FineMixConfig, FineMixMixin, fine_mix_, purify_embeddings_, score_embeddings
from hf_finemix.mixin import original_architecture

from .models import make, make_pair, same, values


class Purifiable(FineMixMixin, BertForSequenceClassification):
    pass


class Derived(Purifiable):
    pass


@pytest.fixture
def pair():
    plain, base = make_pair("bert")
    model = Purifiable(plain.config).eval()
    model.load_state_dict(plain.state_dict())
    return model, base


def test_the_methods_do_what_the_functions_do(pair):
    model, base = pair
    plain = make_pair("bert")[0]
    config = FineMixConfig(keep_ratio=0.4, purify_top_k=3, seed=2)
    scores = model.score_embeddings(base)
    assert np.array_equal(scores, score_embeddings(plain, base))
    assert model.fine_mix_(base, config) == fine_mix_(plain, base, config)
    assert model.purify_embeddings_(base, config, scores) == purify_embeddings_(plain, base, config, scores)
    assert same(values(model), values(plain))


def test_options_of_the_functions_reach_them(pair, tiny_tokenizer):
    model, base = pair
    counts = np.arange(48.0)
    assert np.array_equal(
        model.score_embeddings(base, counts, frequency_floor=5),
        score_embeddings(model, base, counts, frequency_floor=5),
    )
    report = model.purify_embeddings_(base, frequencies=counts, tokenizer=tiny_tokenizer)
    assert report.tokens[0].token is not None
    model.fine_mix_(base)
    model.fine_mix_(base, allow_mixed=True)


def test_a_folder_is_mixed_as_the_plain_class_is(pair, tmp_path):
    model, base = pair
    base.save_pretrained(tmp_path / "base")
    plain = make_pair("bert")[0]
    assert model.fine_mix_(tmp_path / "base") == fine_mix_(plain, tmp_path / "base")
    assert same(values(model), values(plain))


@pytest.mark.parametrize("cls", [Purifiable, Derived])
def test_a_saved_folder_names_the_original_architecture(cls, tmp_path):
    model = make(cls, make_pair("bert")[0].config)
    model.save_pretrained(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert "auto_map" not in config
    assert cls.__name__ in ("Purifiable", "Derived")
    assert not list((tmp_path / "out").glob("*.py"))


def test_a_saved_folder_loads_without_this_package(pair, tmp_path):
    model, base = pair
    model.fine_mix_(base)
    model.save_pretrained(tmp_path / "out")
    script = """
import sys
sys.modules["hf_finemix"] = None  # makes every import of it fail
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification
model, info = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], output_loading_info=True)
assert type(model).__name__ == "BertForSequenceClassification", type(model)
assert type(model).__module__.startswith("transformers."), type(model).__module__
assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
save_file(dict(model.named_parameters()), sys.argv[2])
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out"), str(tmp_path / "seen.safetensors")]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert same(load_file(tmp_path / "seen.safetensors"), values(model))


def test_a_saved_folder_loads_into_the_mixin_class_again(pair, tmp_path):
    model, _ = pair
    model.save_pretrained(tmp_path / "out")
    again = Purifiable.from_pretrained(tmp_path / "out")
    assert type(again) is Purifiable
    assert same(values(again), values(model))


def test_the_class_has_its_name_back_after_saving_and_after_a_failure(pair, tmp_path):
    model, _ = pair
    model.save_pretrained(tmp_path / "out")
    assert type(model).__name__ == "Purifiable"

    class SavingError(Exception):
        pass

    def fail(*arguments, **options):
        assert type(model).__name__ == "BertForSequenceClassification"
        raise SavingError

    model.config.save_pretrained = fail
    with pytest.raises(SavingError):
        model.save_pretrained(tmp_path / "other")
    assert type(model).__name__ == "Purifiable"
    assert BertForSequenceClassification.__name__ == "BertForSequenceClassification"


def test_options_of_save_pretrained_are_passed_on(pair, tmp_path):
    pair[0].save_pretrained(tmp_path / "out", max_shard_size="3KB")
    assert (tmp_path / "out" / "model.safetensors.index.json").exists()


def test_a_mixin_model_can_be_copied_and_run(pair):
    model, _ = pair
    twin = copy.deepcopy(model)
    assert type(twin) is Purifiable
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.equal(twin(input_ids=tokens).logits, model(input_ids=tokens).logits)


def test_the_original_architecture_is_the_first_class_of_transformers():
    assert original_architecture(Derived) is BertForSequenceClassification

    class Own(BertPreTrainedModel):
        pass

    assert original_architecture(Own) is BertPreTrainedModel


def test_a_class_without_a_model_of_transformers_is_refused():
    with pytest.raises(ValueError, match="derives from no model class"):
        original_architecture(FineMixMixin)
