"""Adapters made of mixed models: PEFT loads them, and what they lack is stated."""

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, GPT2LMHeadModel

from hf_finemix import FineMixConfig, InputError, extract_adapter, fine_mix_, merge_adapter
from hf_finemix.adapter_merging import low_rank_factors

from ..architectures import cell
from ..files import run
from ..models import make, same, values
from .kinds import KINDS, make_adapter


def without_training(model, base):
    """Sets all that is no matrix of a linear layer to what the base has: what an adapter of matrices can hold."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            other = base.get(name)
            if other is not None and (parameter.dim() < 2 or "embeddings" in name):
                parameter.copy_(other)
    return model


@pytest.fixture
def pair(tmp_path):
    """A suspect that differs from its base in matrices and its head, and the base on the disk."""
    kind = cell("BERT", "SequenceClassification")
    base = make(kind.bare, kind.config)
    base.save_pretrained(tmp_path / "base")
    named = {f"bert.{name}": value for name, value in values(base).items()}
    return without_training(make(kind.task, kind.config, 1), named), tmp_path / "base"


def logits(model, batch):
    with torch.no_grad():
        return model.eval()(**batch).logits


def test_an_adapter_of_full_rank_is_the_model(pair, tmp_path):
    model, base = pair
    fine_mix_(model, base, FineMixConfig(0.4, purify_top_k=0))
    found = extract_adapter(model, base, tmp_path / "adapter", 24, "someone/base")
    assert found.residual < 1e-6 and not found.left_out and found.whole == ("classifier",)
    task = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    loaded = PeftModel.from_pretrained(task, tmp_path / "adapter")
    batch = cell("BERT", "SequenceClassification").batch()
    assert torch.allclose(logits(loaded, batch), logits(model, batch), atol=1e-5)
    assert loaded.peft_config["default"].base_model_name_or_path == "someone/base"
    merged = values(merge_adapter(tmp_path / "adapter", base, tmp_path / "merged"))
    own = values(model)
    assert all(torch.allclose(merged[name], own[name], atol=1e-5) for name in own)


@pytest.mark.parametrize("rank", [1, 4, 10])
def test_what_is_lost_is_what_the_singular_values_say(pair, tmp_path, rank):
    model, base = pair
    clean = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    found = extract_adapter(model, base, tmp_path / "adapter", rank)
    lost = whole = 0.0
    for name, value in values(model).items():
        if name.endswith(".weight") and value.dim() == 2 and "embeddings" not in name and "classifier" not in name:
            squares = torch.linalg.svdvals((value - values(clean)[name]).double()).square()
            lost, whole = lost + float(squares[rank:].sum()), whole + float(squares.sum())
    assert found.residual == pytest.approx((lost / whole) ** 0.5, rel=1e-5)
    merged = values(merge_adapter(tmp_path / "adapter", base, tmp_path / "merged"))
    gap = sum(float((merged[name] - value).double().square().sum()) for name, value in values(model).items())
    assert (gap / whole) ** 0.5 == pytest.approx(found.residual, rel=1e-4)


def test_factors_of_a_thin_change_are_exact():
    generator = torch.Generator().manual_seed(0)
    delta = torch.randn(20, 3, generator=generator) @ torch.randn(3, 9, generator=generator)
    up, down = low_rank_factors(delta, 3)
    assert up.shape == (20, 3) and down.shape == (3, 9)
    assert torch.allclose((up @ down).float(), delta, atol=1e-5)
    up, down = low_rank_factors(delta, 50)
    assert up.shape == (20, 9) and torch.allclose((up @ down).float(), delta, atol=1e-5)


def test_what_is_no_matrix_is_left_out_and_counted(tmp_path):
    kind = cell("BERT", "SequenceClassification")
    model, base = kind.pair()
    found = extract_adapter(model, base, tmp_path / "adapter", 24)
    assert "bert.embeddings.word_embeddings.weight" in found.left_out
    assert any(name.endswith(".bias") for name in found.left_out)
    lost = sum(
        float((value - values(base)[name.removeprefix("bert.")]).double().square().sum())
        for name, value in values(model).items()
        if name in found.left_out
    )
    whole = sum(
        float((value - values(base)[name.removeprefix("bert.")]).double().square().sum())
        for name, value in values(model).items()
        if name.startswith("bert.")
    )
    assert found.residual == pytest.approx((lost / whole) ** 0.5, rel=1e-4)


def test_weights_that_are_stored_the_other_way_round(tmp_path):
    kind = cell("GPT-2", "LMHead")
    model, base = kind.pair()
    base.save_pretrained(tmp_path / "base")
    without_training(model, {f"transformer.{name}": value for name, value in values(base).items()})
    with torch.no_grad():
        for part in ("wte", "wpe"):
            getattr(model.transformer, part).weight.copy_(getattr(base, part).weight)
    found = extract_adapter(model, tmp_path / "base", tmp_path / "adapter", 48)
    assert found.residual < 1e-6
    merged = merge_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "merged")
    assert isinstance(merged, GPT2LMHeadModel)
    assert all(torch.allclose(values(merged)[name], value, atol=1e-5) for name, value in values(model).items())


def test_command(pair, tmp_path, capsys):
    _, base = pair
    make_adapter(base, tmp_path / "suspect", KINDS["LoRA"])
    merged = merge_adapter(tmp_path / "suspect", base, tmp_path / "merged")
    command = ["extract", tmp_path / "merged", "--pretrained", base, "--rank", "4", "--output", tmp_path / "adapter"]
    capsys.readouterr()
    status, out, _ = run(capsys, command)
    assert status == 0 and "lacks 0.0 % of the change" in out and "Left out" not in out
    again = merge_adapter(tmp_path / "adapter", base, tmp_path / "again")
    own = values(merged)
    assert all(torch.allclose(value, own[name], atol=1e-5) for name, value in values(again).items())


def test_nothing_to_extract_and_a_wrong_rank_are_refused(pair, tmp_path):
    _, base = pair
    same_model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    before = values(same_model)
    with pytest.raises(InputError, match="in no matrix"):
        extract_adapter(same_model, base, tmp_path / "adapter", 4)
    with pytest.raises(InputError, match="rank"):
        extract_adapter(same_model, base, tmp_path / "adapter", 0)
    assert same(values(same_model), before) and not (tmp_path / "adapter").exists()


def test_models_that_lack_weights_or_are_damaged_are_refused(pair, tmp_path, capsys):
    model, base = pair
    model.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    whole = load_file(path)
    command = ["extract", tmp_path / "model", "--pretrained", base, "--output", tmp_path / "adapter"]
    for spoiled, message in (
        ({name: value for name, value in whole.items() if "classifier" not in name}, "lacks weights"),
        (whole | {"classifier.bias": whole["classifier.bias"] * torch.nan}, "NaN or infinity"),
    ):
        save_file(spoiled, path, {"format": "pt"})
        capsys.readouterr()
        status, out, err = run(capsys, command)
        assert status == 2 and not out and err.count("\n") == 1 and message in err
    status, _, err = run(capsys, [*command, "--rank", "0"])
    assert status == 2 and "--rank is 0" in err and not (tmp_path / "adapter").exists()
