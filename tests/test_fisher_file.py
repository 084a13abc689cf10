"""Fisher information on disk, and the selection that reads it, in memory and in parts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_finemix import FineMixConfig, InputError
from hf_finemix.drift import in_parts
from hf_finemix.fisher import check_information, purity_keys
from hf_finemix.fisher_file import FisherFile, save_fisher
from hf_finemix.mixing import mix_
from hf_finemix.part_mixing import find_mix_cut, mix_part_

from .models import bits_equal


CONFIG = FineMixConfig(0.3, "fisher")
SHAPES = {"b.weight": (40, 50), "a.bias": (77,), "c.scalar": ()}


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


@pytest.fixture
def information():
    # A tenth of it is zero: what clean data do not touch.
    values = {name: value.square() for name, value in draw(2).items()}
    return {name: torch.where(value < 0.02, 0.0, value) for name, value in values.items()}


def test_what_was_saved_is_read_back_whole_and_in_parts(tmp_path, information):
    save_fisher(information, tmp_path / "fisher.safetensors")
    file = FisherFile(tmp_path / "fisher.safetensors")
    assert set(file) == set(SHAPES) and len(file) == 3 and "d" not in file
    for name, value in information.items():
        assert torch.equal(file[name], value)
        flat = value.reshape(-1)
        for start, stop in ((0, len(flat)), (0, 1), (len(flat) // 3, len(flat)), (1, 1)):
            assert torch.equal(file.part(name, start, stop), flat[start:stop])
    file.check_fits(SHAPES)
    assert [path.name for path in tmp_path.iterdir()] == ["fisher.safetensors"]


def test_other_dtypes_and_strides_are_stored_as_row_major_float32(tmp_path):
    turned = torch.arange(6.0, dtype=torch.float64).view(2, 3).t()
    save_fisher({"w": turned}, tmp_path / "f")
    assert load_file(tmp_path / "f")["w"].dtype == torch.float32
    assert FisherFile(tmp_path / "f").part("w", 0, 6).tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_a_value_that_is_no_information_is_refused_in_writing_and_in_reading(tmp_path, bad):
    values = torch.tensor([1.0, bad])
    with pytest.raises(InputError, match="negative, infinite or NaN in w"):
        save_fisher({"w": values}, tmp_path / "f")
    assert not list(tmp_path.iterdir())
    save_file({"w": values}, tmp_path / "f")
    file = FisherFile(tmp_path / "f")
    assert file.part("w", 0, 1).tolist() == [1.0]
    with pytest.raises(InputError, match="negative, infinite or NaN in w"):
        file.part("w", 0, 2)


def test_a_failed_writing_keeps_the_old_file_and_leaves_nothing_else(tmp_path, information, monkeypatch):
    path = tmp_path / "f"
    save_fisher(information, path)
    before = path.read_bytes()
    monkeypatch.setattr("hf_finemix.fisher_file.save_file", lambda *a, **k: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save_fisher({"w": torch.ones(1)}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["f"] and path.read_bytes() == before


def test_files_that_cannot_be_used_are_refused(tmp_path, information):
    with pytest.raises(InputError, match="is no file; name one that `save_fisher` wrote"):
        FisherFile(tmp_path / "missing")
    (tmp_path / "text").write_text("not a safetensors file")
    with pytest.raises(InputError, match="is no safetensors file"):
        FisherFile(tmp_path / "text")
    save_file({"w": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "half")
    with pytest.raises(InputError, match="holds w as BF16, but must hold float32"):
        FisherFile(tmp_path / "half")
    with pytest.raises(InputError, match="name a file in a folder that you can write"):
        save_fisher(information, tmp_path / "missing" / "f")
    save_fisher(information, tmp_path / "f")
    with pytest.raises(InputError, match="has d not at all, but the model in"):
        FisherFile(tmp_path / "f").check_fits({"d": (3,)})
    with pytest.raises(InputError, match=r"has a.bias in shape \(77,\), but the model in \(7, 11\)"):
        FisherFile(tmp_path / "f").check_fits({"a.bias": (7, 11)})
    with pytest.raises(KeyError):
        FisherFile(tmp_path / "f")["d"]


def test_information_that_does_not_fit_a_model_is_refused():
    with pytest.raises(InputError, match="`fisher` is missing"):
        check_information(None, {"w": (2,)})
    with pytest.raises(InputError, match="lacks w"):
        check_information({}, {"w": (2,)})
    with pytest.raises(InputError, match=r"has w in shape \(3,\), but the model in \(2,\)"):
        check_information({"w": torch.ones(3)}, {"w": (2,)})


def test_mixing_from_the_file_is_a_sort_by_drift_over_information(tmp_path, information):
    suspect, pretrained = draw(0), draw(1)
    suspect["b.weight"][:20] = pretrained["b.weight"][:20]  # ties, in their hundreds
    save_fisher(information, tmp_path / "f")
    file = FisherFile(tmp_path / "f")
    numel = {name: value.numel() for name, value in suspect.items()}

    def parts(name):
        # Uneven on purpose.
        edges = [0, numel[name] // 3, numel[name] // 2, numel[name]]
        flat = suspect[name].view(-1), pretrained[name].view(-1)
        for start, stop in pairwise(edges):
            yield flat[0][start:stop], flat[1][start:stop], file.part(name, start, stop)

    cut = find_mix_cut(CONFIG, list(suspect), parts, numel)
    whole = find_mix_cut(
        CONFIG, list(suspect), lambda name: in_parts(suspect[name], pretrained[name], information[name]), numel
    )
    assert cut == whole

    ranked = sorted(
        (int(key), name, at)
        for name in suspect
        for at, key in enumerate(purity_keys(suspect[name], pretrained[name], information[name]))
    )
    kept = {(name, at) for _, name, at in ranked[: round(0.3 * len(ranked))]}
    count = 0
    for name, value in suspect.items():
        expected = torch.tensor(
            [
                float(value.view(-1)[at] if (name, at) in kept else pretrained[name].view(-1)[at])
                for at in range(numel[name])
            ]
        )
        mixed, again = value.clone(), value.clone().view(-1)
        count += mix_(mixed, pretrained[name], name, CONFIG, cut, information[name])
        assert bits_equal(mixed.view(-1), expected)
        edge = numel[name] // 2
        for start, stop in ((edge, numel[name]), (0, edge)):
            part = file.part(name, start, stop)
            mix_part_(again[start:stop], pretrained[name].view(-1)[start:stop], name, start, CONFIG, cut, part)
        assert bits_equal(again, expected)
    assert count == len(kept)


def test_keys_on_the_device_are_the_keys():
    suspect, pretrained = draw(0)["b.weight"], draw(1)["b.weight"]
    keys = purity_keys(suspect, pretrained, torch.ones(40, 50))
    assert keys.dtype == np.uint32 and int(keys.max()) < 2**31
