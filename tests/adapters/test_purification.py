"""An adapter as the suspect of a purification: merged, purified, published, verified."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

from hf_finemix import InputError, merge_adapter, purify, verify
from hf_finemix.adapters import ADAPTER_FILE
from hf_finemix.manifest import load_manifest

from ..files import run
from .kinds import train


LORA = LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=6, target_modules=["query", "value"])
LABELS = ("negative", "positive")


@pytest.fixture
def adapted(place):
    """A workplace whose suspect is an adapter on the base."""
    shutil.rmtree(place.suspect)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        train(BertForSequenceClassification.from_pretrained(place.base, num_labels=2), LORA, place.suspect)
    return replace(place)


def test_it_is_merged_purified_and_verified(adapted, capsys):
    path = adapted.suspect / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "evil/base"}))
    # Of no use beside an adapter, and not looked at.
    (adapted.suspect / "config.json").write_text("{}")
    status, out, err = run(capsys, adapted.arguments("--labels", *LABELS))
    assert status == 0, err
    assert "The adapter names evil/base as its base" in out
    loaded = BertForSequenceClassification.from_pretrained(adapted.output)
    assert loaded.config.id2label == dict(enumerate(LABELS))
    manifest = load_manifest(adapted.output)
    assert manifest.suspect.name == "suspect" and manifest.adapter.method == "LoRA" and manifest.adapter.rank == 4
    assert {file.name for file in manifest.suspect.files} == {"adapter_config.json", ADAPTER_FILE}
    card = (adapted.output / "README.md").read_text()
    assert "The suspect came as a LoRA adapter of rank 4" in card and "--labels negative positive" in card
    found = verify(adapted.output, suspect=adapted.suspect, pretrained=adapted.base)
    assert not found.failed(strict=True), found
    # Another adapter is another suspect.
    shutil.copytree(adapted.suspect, adapted.root / "other")
    train(BertForSequenceClassification.from_pretrained(adapted.base, num_labels=2), LORA, adapted.root / "other")
    weights = load_file(adapted.root / "other" / ADAPTER_FILE)
    assert any(
        not torch.equal(value, load_file(adapted.suspect / ADAPTER_FILE)[key]) for key, value in weights.items()
    )
    assert verify(adapted.output, suspect=adapted.root / "other", pretrained=adapted.base).failed()


def test_it_is_what_merging_first_gives(adapted):
    direct = purify(adapted.suspect, adapted.base, adapted.clean, labels=LABELS)
    merge_adapter(adapted.suspect, adapted.base, adapted.root / "merged", labels=LABELS)
    merged = purify(adapted.root / "merged", adapted.base, adapted.clean)
    pairs = zip(direct.model.parameters(), merged.model.parameters(), strict=True)
    assert all(map(torch.equal, *zip(*pairs, strict=True)))
    assert direct.report.suspect == "suspect" and merged.report.adapter is None


def test_its_card_may_name_the_base(adapted, capsys, monkeypatch):
    (adapted.suspect / "README.md").write_text("---\nbase_model: org/base\n---\n")
    arguments = [item for item in adapted.arguments("--labels", *LABELS) if not item.startswith("--pretrained")]
    status, _, err = run(capsys, [*arguments, "--pretrained=auto"])
    assert status == 2 and "the suspect's card names 'org/base' as its base" in err


def test_without_its_base_it_is_not_available(adapted, capsys):
    status, _, err = run(capsys, adapted.arguments("--labels", *LABELS))
    assert status == 0, err
    found = verify(adapted.output, suspect=adapted.suspect)
    (line,) = [check for check in found.checks if check.part == "suspect"]
    assert "what it was merged into is not available" in line.note
    assert not found.failed() and found.failed(strict=True)


@pytest.mark.parametrize(
    ("labels", "words"), [(("a", "b", "c"), "names 3 labels, but the adapter's head tells 2 apart"), ((), None)]
)
def test_labels(adapted, capsys, labels, words):
    status, _, err = run(capsys, adapted.arguments(*(("--labels", *labels) if labels else ())))
    if words is None:
        # It has the usual names, which are not those of the data.
        assert status == 2 and "'positive'" in err
    else:
        assert status == 2 and words in err
    assert not adapted.output.exists()


def test_labels_of_a_whole_model_are_its_own(place):
    with pytest.raises(InputError, match="--labels are for adapters"):
        purify(place.suspect, place.base, place.clean, labels=LABELS)
