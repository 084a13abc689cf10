"""The public names: all there, loaded only when used."""

import subprocess
import sys

import pytest

import hf_finemix


CONTRACT = (
    "AttackSuccessRate",
    "FineMixConfig",
    "FineMixMixin",
    "FineMixTrainer",
    "FineMixTrainingArguments",
    "fine_mix_",
    "purify",
    "purify_embeddings_",
    "score_embeddings",
)


@pytest.mark.parametrize("name", hf_finemix.__all__)
def test_public_names_resolve(name):
    assert getattr(hf_finemix, name) is not None


def test_contract_is_public():
    assert set(CONTRACT) <= set(hf_finemix.__all__)
    assert list(hf_finemix.__all__) == dir(hf_finemix)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = hf_finemix.nonsense


def test_import_alone_loads_no_library():
    code = "import sys, hf_finemix; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "transformers", "numpy", "datasets"} & set(loaded)
