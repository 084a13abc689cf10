"""What mixing from disk to disk refuses: with one line, and nothing left behind."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_finemix import FineMixConfig, InputError, mix_checkpoints

from .models import family, make
from .streams import CONFIG, change, leftovers, mix, save_pair, tensors


NAME = "bert.encoder.layer.1.output.dense.weight"


def refuse(folder, *words, **options):
    with pytest.raises(InputError) as error:
        mix(folder, **options)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message, message
    assert leftovers(folder) == set()


@pytest.mark.parametrize("side", ["suspect", "base"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_numbers_that_are_none_are_refused(tmp_path, side, dtype, value):
    save_pair(tmp_path, dtypes=(dtype, dtype))
    name = NAME if side == "suspect" else NAME.removeprefix("bert.")

    def spoil(weights):
        weights[name][3, 5] = value
        return weights

    change(tmp_path / side, spoil)
    refuse(tmp_path, f"`{'suspect' if side == 'suspect' else 'pretrained'}` holds NaN or infinity in {NAME}")


def test_sums_that_overflow_are_no_damage(tmp_path):
    save_pair(tmp_path)

    def grow(weights):
        weights[NAME].fill_(3e38)
        return weights

    change(tmp_path / "suspect", grow)
    assert tensors(mix(tmp_path))[NAME].max() == torch.tensor(3e38)


def test_a_base_too_large_for_the_suspects_dtype_is_refused(tmp_path):
    save_pair(tmp_path, dtypes=(torch.float16, torch.float32))

    def grow(weights):
        weights["pooler.dense.bias"][0] = 1e6
        return weights

    change(tmp_path / "base", grow)
    refuse(tmp_path, "`pretrained` holds NaN or infinity in bert.pooler.dense.bias")


@pytest.mark.parametrize(("side", "argument"), [("suspect", "SUSPECT"), ("base", "`pretrained`")])
def test_formats_of_few_bits_are_refused(tmp_path, side, argument):
    save_pair(tmp_path)
    change(tmp_path / side, lambda w: {name: value.to(torch.float8_e4m3fn) for name, value in w.items()})
    refuse(tmp_path, argument, "is quantised", "F8_E4M3")


def test_experts_that_are_stored_one_by_one_are_refused(tmp_path):
    save_pair(tmp_path)
    change(tmp_path / "suspect", lambda w: w | {"bert.mlp.experts.3.w1.weight": torch.ones(2, 2)})
    refuse(tmp_path, "stores its experts one by one", "fine_mix_")


def test_names_in_two_shards_and_an_index_that_lies(tmp_path):
    save_pair(tmp_path, max_shard_size="5KB")
    suspect = tmp_path / "suspect"
    index = suspect / "model.safetensors.index.json"
    right = json.loads(index.read_text())
    first, *_, last = sorted(path.name for path in suspect.glob("*.safetensors"))
    name = next(name for name, file in right["weight_map"].items() if file == first)
    for file, words in (
        (last, f"an index that says {name} is in {last}, where it is not"),
        ("../suspect/" + first, "shards outside its folder"),
        ("nowhere.safetensors", "lacks nowhere.safetensors"),
    ):
        index.write_text(json.dumps(right | {"weight_map": right["weight_map"] | {name: file}}))
        refuse(tmp_path, "SUSPECT", words)
    index.write_text(json.dumps(right))
    save_file(load_file(suspect / first) | load_file(suspect / last), suspect / last, metadata={"format": "pt"})
    refuse(tmp_path, "SUSPECT", "twice")


def test_what_does_not_fit_is_refused(tmp_path):
    save_pair(tmp_path)
    refuse(tmp_path, "`exclude` holds 'nothing'", config=FineMixConfig(exclude=("nothing",)))
    refuse(tmp_path, "`workers` is 0", workers=0)
    refuse(tmp_path, "`fisher` is missing", "save_fisher", config=FineMixConfig(selection="fisher"))
    refuse(tmp_path, "`max_shard_size` is '5 apples'", max_shard_size="5 apples")
    with pytest.raises(InputError, match="SUSPECT and --pretrained are both"):
        mix_checkpoints(tmp_path / "base", tmp_path / "base", tmp_path / "out", CONFIG)
    change(tmp_path / "suspect", lambda w: {name.replace("word_embeddings", "pixels"): v for name, v in w.items()})
    refuse(tmp_path, "SUSPECT", "no word embedding of a usual name")


def test_rows_that_stand_for_other_tokens_are_refused(tmp_path, tiny_tokenizer):
    for folder, size, seed in (("suspect", 70, 1), ("base", 60, 0)):
        kind = family("bert")
        kind.config.vocab_size = size
        make(kind.task if seed else kind.bare, kind.config, seed).save_pretrained(tmp_path / folder)
        tiny_tokenizer.save_pretrained(tmp_path / folder)
    mix(tmp_path)
    shutil.rmtree(tmp_path / "out")
    path = tmp_path / "base" / "tokenizer.json"
    path.write_text(path.read_text().replace('"cf"', '"zz"'))
    refuse(tmp_path, "`pretrained`", "another vocabulary", "is 'zz', but 'cf' in the suspect")
