"""`purify()` with distillation and a chosen ratio: what is recorded, and what the search leaves alone."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoConfig, BertForSequenceClassification

from hf_finemix import FineMixConfig, InputError, pipeline, purify
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.hashes import sha256_file
from hf_finemix.job import prepare
from hf_finemix.job_checks import with_ratio
from hf_finemix.manifest import load_manifest
from hf_finemix.pipeline import run
from hf_finemix.recipes import DEFAULT_CONFIG, DEFAULT_DISTILLATION, DEFAULT_RECIPE, NO_DISTILLATION, read_recipe
from hf_finemix.results import Recipe, load_report
from hf_finemix.search import RATIOS

from .files import BAD, GOOD, SHORT, write_csv
from .models import bits_equal, make, same
from .purified import make_tiny_place


RECIPE = Recipe(epochs=1, learning_rate=1e-3, batch_size=4, max_length=32, frequencies="vocabulary", seed=3)
CONFIG = FineMixConfig(seed=5, purify_top_k=4)
# Any token that is tried is taken for a trigger.
EAGER = replace(SHORT, flips=0.0, candidates=2)


@pytest.fixture
def place(tmp_path, tiny_tokenizer):
    return make_tiny_place(tmp_path, tiny_tokenizer)


@pytest.fixture
def texts(place):
    path = place.root / "texts.txt"
    path.write_text("".join(f"{start} {word}\n" for start in ("the plot is", "a film of") for word in "abcdefghij"))
    return path


@pytest.fixture
def quick(monkeypatch):
    """A search of two ratios with a control that is planted in no time."""
    monkeypatch.setattr("hf_finemix.search.RATIOS", (0.2, 0.6))
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 2)
    monkeypatch.setattr("hf_finemix.control._EPOCHS", 1)


def purified(place, output=None, **options):
    options = {"config": CONFIG, "recipe": RECIPE, "distillation": SHORT} | options
    return purify(place.suspect, place.base, place.clean, output=output, **options)


def state(result):
    return dict(result.model.state_dict())


# Distillation


def test_report_and_manifest_record_the_distillation(place, texts):
    result = purified(place, place.output, distillation=EAGER, unlabeled_dataset=texts)
    report, manifest = load_report(place.output), load_manifest(place.output)
    assert report == result.report
    assert report.distillation == manifest.distillation == EAGER
    assert report.unlabeled_data == manifest.unlabeled_data and report.unlabeled_data.rows == 20
    assert report.distilled.texts + report.distilled.left_out == 12 + 20
    assert len(report.distilled.triggers) > 0 and report.search is report.control is report.frontier is None
    card = (place.output / "README.md").read_text()
    assert "## Distillation" in card and "| unlabelled data | texts.txt, 20 examples" in card
    assert "## Choice of the keep ratio" not in card and "--unlabeled-data texts.txt" in card


def test_no_distillation_is_recorded_as_none(place):
    report = purified(place, place.output, distillation=NO_DISTILLATION).report
    assert report.distillation == load_manifest(place.output).distillation == NO_DISTILLATION
    assert report.distilled is None and report.unlabeled_data is None
    assert "## Distillation" not in (place.output / "README.md").read_text()


def test_review_is_of_the_purified_model(place, texts, monkeypatch):
    seen = []

    def review(model, tokenizer, lessons):
        seen.append((dict(model.state_dict()), lessons))
        return found(model, tokenizer, lessons)

    found = pipeline.review
    monkeypatch.setattr(pipeline, "review", review)
    result = purified(place, unlabeled_dataset=texts)
    ((weights, lessons),) = seen
    assert same(weights, state(result)) and result.report.distilled == found(result.model, result.tokenizer, lessons)


def test_unlabelled_texts_and_settings_change_the_weights(place, texts):
    first, *others = (
        state(purified(place, **options))
        for options in ({}, {"unlabeled_dataset": texts}, {"distillation": NO_DISTILLATION}, {"distillation": EAGER})
    )
    assert not any(same(first, other) for other in others)


def test_where_every_text_holds_a_trigger_the_labels_alone_teach(place):
    # Every token is taken for a trigger, so that there is nothing left to ask about.
    result = purified(place, place.output, distillation=replace(SHORT, flips=0.0, candidates=100))
    record = result.report.distilled
    assert (record.texts, record.left_out, record.disagreement.n) == (0, 12, 0) and len(record.triggers) > 20
    assert same(state(result), state(purified(place, distillation=NO_DISTILLATION)))
    card = (place.output / "README.md").read_text()
    assert "12 texts that hold one were left out" in card and "was taught by" not in card


def test_pairs_of_three_labels(place, tiny_tokenizer, quick):
    shutil.rmtree(place.suspect)
    config = AutoConfig.from_pretrained(place.base, num_labels=3)
    make(BertForSequenceClassification, config).save_pretrained(place.suspect)
    tiny_tokenizer.save_pretrained(place.suspect)
    rows = [(f"the movie is {word}", "it is fun", at % 3) for at, word in enumerate((*GOOD, *BAD))]
    clean = write_csv(place.root / "pairs.csv", ["premise", "hypothesis", "label"], rows)
    texts = write_csv(place.root / "more.csv", ["premise", "hypothesis"], [(b, a) for a, b, _ in rows])
    options = {"config": CONFIG, "recipe": RECIPE, "distillation": SHORT, "unlabeled_dataset": texts}
    report = purify(place.suspect, place.base, clean, keep_ratio="auto", **options).report
    assert report.search.trials[0].accuracy.n == 12 and len(report.labels) == 3
    assert report.distilled.texts + report.distilled.left_out == 24


def test_the_same_inputs_give_the_same_folder(place, texts, quick):
    folders = [place.root / parent / "out" for parent in ("a", "b")]
    for folder in folders:
        purified(place, folder, keep_ratio="auto", unlabeled_dataset=texts)
    first, second = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    )
    assert first == second and "figures/frontier.png" in first


def test_settings_of_the_card_give_the_same_weights(place, texts, quick):
    result = purified(place, place.output, keep_ratio="auto", unlabeled_dataset=texts)
    block = (place.output / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    path = place.root / "recipe.yaml"
    path.write_text(block)
    config, recipe, distillation = read_recipe(path, DEFAULT_CONFIG, DEFAULT_RECIPE, DEFAULT_DISTILLATION)
    again = purified(place, config=config, recipe=recipe, distillation=distillation, unlabeled_dataset=texts)
    assert same(state(again), state(result)) and again.report.search is None


@pytest.mark.parametrize(("distillation", "shared"), [(SHORT, 12 + 20), (NO_DISTILLATION, 12)])
def test_evaluation_texts_that_the_suspect_answered_are_counted(place, texts, distillation, shared):
    rows = [line.rsplit(",", 1) for line in place.clean.read_text().splitlines()[1:]]
    rows += [(text, "positive") for text in (*texts.read_text().splitlines(), "we love the music")]
    evaluation = write_csv(place.root / "eval.csv", ["text", "label"], rows)
    options = {"evaluation_dataset": evaluation, "distillation": distillation}
    if distillation.epochs:
        options["unlabeled_dataset"] = texts
    assert purified(place, **options).report.shared_examples == shared


# The search


def test_chosen_ratio_is_what_is_done_and_recorded(place, texts, quick):
    result = purified(place, place.output, keep_ratio="auto", unlabeled_dataset=texts)
    report, manifest = load_report(place.output), load_manifest(place.output)
    chosen = report.search.trials[report.search.chosen]
    assert report == result.report and chosen.keep_ratio in (0.2, 0.6)
    assert report.config == manifest.config == replace(CONFIG, keep_ratio=chosen.keep_ratio)
    assert json.loads((place.output / "config.json").read_text())["finemix"]["keep_ratio"] == chosen.keep_ratio
    assert report.control == chosen.control and report.search.folds == 1
    assert chosen.accuracy.n == 12 and chosen.agreement.n == 12 + 20 // 4


def test_frontier_is_a_file_of_the_model(place, quick):
    purified(place, place.output, keep_ratio="auto")
    figure = place.output / "figures" / "frontier.png"
    listed = {file.name: file.sha256 for file in load_manifest(place.output).outputs}
    assert listed["figures/frontier.png"] == sha256_file(figure) and figure.read_bytes().startswith(b"\x89PNG")
    assert "](figures/frontier.png)" in ModelCard.load(place.output / "README.md").text


def test_without_a_figure_there_is_no_section_of_it(place, quick, monkeypatch):
    monkeypatch.setattr("hf_finemix.pipeline.draw_frontier", lambda search: None)
    report = purified(place, place.output, keep_ratio="auto").report
    assert report.frontier is None and report.search is not None
    assert not (place.output / "figures").exists() and "## Frontier" not in (place.output / "README.md").read_text()


@pytest.mark.parametrize("unlabeled", [False, True])
def test_control_never_touches_the_published_weights(place, texts, quick, unlabeled, monkeypatch):
    seen, treat = {}, pipeline.treat_

    def treated(model, *args, **options):
        seen.update(model.state_dict())
        seen.update({name: tensor.clone() for name, tensor in seen.items()})
        return treat(model, *args, **options)

    monkeypatch.setattr(pipeline, "treat_", treated)
    options = {"unlabeled_dataset": texts} if unlabeled else {}
    searched = purified(place, place.output, keep_ratio="auto", **options)
    # What is mixed in the end is the suspect, bit for bit, as it is on disk.
    stored = load_file(place.suspect / "model.safetensors")
    assert stored.keys() <= seen.keys() and all(bits_equal(seen[name], stored[name]) for name in stored)
    # The same job without a search, at the chosen ratio, gives the same bits.
    ratio = searched.report.config.keep_ratio
    given = purified(place, keep_ratio=ratio, **options)
    assert same(state(given), state(searched))
    assert given.report.mix == searched.report.mix and given.report.distilled == searched.report.distilled
    written = load_file(place.output / "model.safetensors")
    assert all(bits_equal(written[name], tensor) for name, tensor in state(given).items() if name in written)


def test_search_knows_nothing_of_triggers_and_evaluation_data(place, quick):
    plain = purified(place, keep_ratio="auto")
    triggers = [Trigger("cf", 1, "start"), Trigger("mn", 0)]
    torch.rand(3)
    told = purified(place, keep_ratio="auto", evaluation_dataset=place.clean, triggers=triggers)
    assert told.report.search == plain.report.search and told.report.control == plain.report.control
    assert same(state(told), state(plain))
    assert len(told.report.evaluations["purified"].triggers) == 2


def test_search_depends_on_the_seed_of_the_recipe(place, quick):
    records = [purified(place, keep_ratio="auto", recipe=replace(RECIPE, seed=seed)).report.search for seed in (3, 4)]
    assert records[0] != records[1]


def test_all_ratios_are_known_by_default(place, monkeypatch):
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 2)
    monkeypatch.setattr("hf_finemix.control._EPOCHS", 1)
    job = prepare(place.suspect, place.base, place.clean, config=CONFIG)
    report = run(job, RECIPE, distillation=NO_DISTILLATION, auto=True).report
    assert {trial.keep_ratio for trial in report.search.trials} <= set(RATIOS) and report.config.keep_ratio in RATIOS


# The argument


@pytest.mark.parametrize(("given", "ratio"), [(None, 0.3), ("auto", 0.3), (0.5, 0.5), (0, 0), (1, 1)])
def test_ratio_goes_before_that_of_the_settings(given, ratio):
    assert with_ratio(CONFIG, given) == replace(CONFIG, keep_ratio=ratio)


@pytest.mark.parametrize("given", ["banana", "0.5", "", 2, -0.1, float("nan"), True])
def test_what_is_no_ratio_is_refused(place, given):
    with pytest.raises(InputError, match=r"`keep_ratio` is .*, but must be a number from 0 to 1"):
        purified(place, keep_ratio=given)


def test_defaults_are_those_of_the_card(place, monkeypatch):
    done = []
    monkeypatch.setattr("hf_finemix.pipeline.run", lambda job, recipe, **options: done.append((job, recipe, options)))
    purify(place.suspect, place.base, place.clean)
    ((job, recipe, options),) = done
    assert (job.config, recipe, options["distillation"]) == (DEFAULT_CONFIG, DEFAULT_RECIPE, DEFAULT_DISTILLATION)
    assert options["auto"] is False
