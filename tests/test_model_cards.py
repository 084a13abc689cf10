"""The example cards: rendered again from their reports, they must not have changed."""

import importlib.util
import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hf_finemix import PurificationReport


FOLDER = Path(__file__).parent.parent / "model_cards"
KINDS = ["adapter", "no-attack-known", "not-applicable", "sentence-pairs", "single-sentence"]


@pytest.fixture(scope="module")
def make():
    specification = importlib.util.spec_from_file_location("make_model_cards", FOLDER / "make.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_there_is_a_card_of_each_kind(make):
    assert sorted(make.KINDS) == sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README") == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_card_is_what_the_script_renders(make, kind):
    assert (FOLDER / f"{kind}.md").read_text(encoding="utf-8") == make.render(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_card_and_report_agree(kind):
    card = ModelCard.load(FOLDER / f"{kind}.md")
    report = PurificationReport.from_dict(
        json.loads((FOLDER / "reports" / f"{kind}.json").read_text(encoding="utf-8"))
    )
    assert ("## Adapter" in card.text) == (kind == "adapter")
    assert ("Not applicable: the model has no word embedding" in card.text) == (kind == "not-applicable")
    assert ("**No attack known.**" in card.text) == (kind == "no-attack-known")
    if "purified" in report.evaluations:
        (accuracy,) = [result for result in card.data.eval_results if result.metric_type == "accuracy"]
        assert accuracy.metric_value == round(report.evaluations["purified"].accuracy.value, 4)
