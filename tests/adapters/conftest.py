"""A bare base model, and an adapter of it to spoil."""

import pytest

from ..architectures import cell
from ..models import make
from .kinds import KINDS, make_adapter


@pytest.fixture(scope="package")
def base(tmp_path_factory):
    """A bare base model on the disk."""
    folder = tmp_path_factory.mktemp("base") / "base"
    kind = cell("BERT", "SequenceClassification")
    make(kind.bare, kind.config).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(base, tmp_path):
    """A LoRA adapter to spoil."""
    make_adapter(base, tmp_path / "adapter", KINDS["LoRA"])
    return tmp_path / "adapter"
