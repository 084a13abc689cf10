"""The card's YAML header, as the Hub's own library reads it, and the licences that go into it."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from hf_finemix.card import DefenseCard, render_card
from hf_finemix.card_merge import split_card
from hf_finemix.card_metadata import TAGS, hub_ids, metadata, pipeline_tag
from hf_finemix.licenses import common_license, license_id, stated_license
from hf_finemix.loading import Checkpoint
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation
from hf_finemix.results import DataRecord

from .reports import COMMIT, make_evaluation


def data(report, title="purified", **options):
    """The header of a card as the Hub understands it."""
    return ModelCard(render_card(DefenseCard(report, title, **options))).data


def results(report, **options):
    return {result.metric_name: result for result in data(report, **options).eval_results}


def test_card_on_disk_is_a_card_of_the_hub(report, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(render_card(DefenseCard(report, "purified")), encoding="utf-8")
    card = ModelCard.load(path)
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "text-classification")
    assert card.data.license == "mit" and card.data.model_name == "purified"
    assert "# purified" in card.text


def test_both_bases_are_named_and_that_it_is_a_merge(report):
    card = data(report)
    assert card.base_model == ["someone/suspect", "org/base"] == hub_ids(report)
    assert card.base_model_relation == "merge"


@pytest.mark.parametrize(
    ("suspect", "pretrained", "bases"),
    [
        ("suspect", f"org/base@{COMMIT}", ["org/base"]),
        (f"suspect@{COMMIT}", "base", ["suspect"]),
        # A name with an @ is no repository, nor is one whose commit is cut off.
        ("sus@pect", f"org/base@{COMMIT[:7]}", None),
        (f"a/b/c@{COMMIT}", f"org/ba se@{COMMIT}", None),
    ],
)
def test_folders_are_no_bases(report, suspect, pretrained, bases):
    header = split_card(render_card(DefenseCard(replace(report, suspect=suspect, pretrained=pretrained), "x")))[0]
    assert header.get("base_model") == bases
    assert header.get("base_model_relation") == ("merge" if bases else None)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForSequenceClassification", "text-classification"),
        ("DebertaV2ForSequenceClassification", "text-classification"),
        ("BertForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("BertForMaskedLM", "fill-mask"),
        ("GPT2LMHeadModel", "text-generation"),
        ("ViTForImageClassification", "image-classification"),
        ("NoSuchModel", None),
        ("", None),
    ],
)
def test_pipeline_tag(architecture, task):
    assert pipeline_tag(architecture) == task


def test_unknown_architecture_has_no_task_of_its_own(report):
    other = replace(report, architecture="NoSuchModel")
    assert "pipeline_tag" not in split_card(render_card(DefenseCard(other, "x")))[0]
    # A model index needs one all the same.
    assert {result.task_type for result in data(other).eval_results} == {"text-classification"}


def test_tags_are_ours_and_then_others_once(report):
    assert data(report).tags == list(TAGS)
    assert data(report, tags=("sentiment", TAGS[0])).tags == [*TAGS, "sentiment"]


def test_language_is_stated_if_it_is_known(report):
    assert data(report, language="en").language == "en"
    assert data(report).language is None


def test_data_sets_of_the_hub_are_listed_once(report):
    clean = DataRecord("stanfordnlp/sst2:train", 64, "f" * 64, "stanfordnlp/sst2")
    both = replace(report, clean_data=clean, evaluation_data=replace(clean, name="stanfordnlp/sst2:validation"))
    assert data(both).datasets == ["stanfordnlp/sst2"]
    assert data(both, datasets=("imdb", "stanfordnlp/sst2")).datasets == ["stanfordnlp/sst2", "imdb"]
    assert data(report).datasets is None


def test_results_name_the_data_that_they_were_measured_on(report):
    validation = DataRecord("stanfordnlp/sst2:validation", 200, None, "stanfordnlp/sst2")
    found = {
        (item.dataset_type, item.dataset_name)
        for item in data(replace(report, evaluation_data=validation)).eval_results
    }
    assert found == {("stanfordnlp/sst2", "stanfordnlp/sst2:validation")}


def test_results_are_those_of_the_purified_model(report):
    found = {(item.metric_type, item.metric_name, item.metric_value) for item in data(report).eval_results}
    assert found == {
        ("accuracy", "Accuracy", 0.8),
        ("attack_success_rate", "Attack success rate (trigger “cf”)", 0.23),
        ("robust_accuracy", "Robust accuracy (trigger “cf”)", 0.77),
    }
    assert data(report).metrics == ["accuracy", "attack_success_rate", "robust_accuracy"]


def test_model_index_goes_round(report):
    header = split_card(render_card(DefenseCard(report, "purified")))[0]
    name, found = model_index_to_eval_results(header["model-index"])
    made = metadata(report, "purified")
    assert (name, found) == ("purified", made.eval_results)
    assert json.loads(json.dumps(made.to_dict()))["model-index"] == header["model-index"]


@pytest.mark.parametrize(("accuracy", "asr"), [(0, 0), (1, 1), (67, 33), (199, 99), (200, 100)])
def test_values_are_shares_with_four_digits(report, accuracy, asr):
    evaluated = replace(report, evaluations={"purified": make_evaluation(accuracy, asr)})
    values = [item.metric_value for item in data(evaluated).eval_results]
    assert values == [round(accuracy / 200, 4), round(asr / 100, 4), round(1 - asr / 100, 4)]
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in values)


def test_rates_without_examples_are_left_out(report):
    trigger = make_evaluation(160, 0).triggers[0]
    empty = replace(trigger, asr=Rate(0, 0), ra=Rate(0, 0), flip_rate=Rate(0, 0))
    card = data(replace(report, evaluations={"purified": Evaluation(Rate(160, 200), (empty,))}))
    assert [item.metric_type for item in card.eval_results] == card.metrics == ["accuracy"]


def test_each_trigger_has_its_own_results(report):
    triggers = tuple(make_evaluation(160, asr, name).triggers[0] for name, asr in (("cf", 10), ("mn", 40)))
    found = results(replace(report, evaluations={"purified": Evaluation(Rate(160, 200), triggers)}))
    assert len(found) == 5
    assert found["Attack success rate (trigger “cf”)"].metric_value == 0.1
    assert found["Attack success rate (trigger “mn”)"].metric_value == 0.4


def test_one_trigger_at_two_positions_has_two_names(report):
    start, end = (
        replace(make_evaluation(160, asr).triggers[0], position=at) for asr, at in ((10, "start"), (40, "end"))
    )
    found = results(replace(report, evaluations={"purified": Evaluation(Rate(160, 200), (start, end))}))
    assert len(found) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"evaluations": {}},
        {"evaluations": {"suspect": make_evaluation(172, 100)}},
        {"evaluation_data": None},
        {"evaluations": {"purified": Evaluation(Rate(0, 0))}},
    ],
)
def test_without_results_there_is_no_model_index(report, change):
    header = split_card(render_card(DefenseCard(replace(report, **change), "purified")))[0]
    assert not {"model-index", "metrics"} & header.keys()


# Licences


@pytest.mark.parametrize("text", ["mit", "apache-2.0", "cc-by-nc-sa-4.0", "llama3.1", "c-uda", "other"])
def test_license_id_is_taken(text):
    assert license_id(text) == text


@pytest.mark.parametrize("value", ["MIT License", "", "-x", "mit\n", "<b>", "x" * 50, None, 5, ["mit"], {"mit": 1}])
def test_anything_else_is_no_license_id(value):
    assert license_id(value) is None


@pytest.mark.parametrize(
    ("suspect", "pretrained", "common"),
    [
        ("mit", "mit", "mit"),
        ("mit", "apache-2.0", None),
        ("mit", None, None),
        (None, "mit", None),
        (None, None, None),
        # These stand for a text that lies elsewhere; two of them need not be the same.
        ("other", "other", None),
        ("unknown", "unknown", None),
        # A report may come from a stranger.
        ("<b>x</b>", "<b>x</b>", None),
    ],
)
def test_common_license(suspect, pretrained, common):
    assert common_license({"suspect": suspect, "pretrained": pretrained}) == common


def test_common_license_of_unknown_inputs():
    assert common_license({}) is None and common_license({"suspect": "mit"}) is None


def stated(folder):
    return stated_license(Checkpoint("model", folder, {}, ()))


def write_header(folder, header, rest="\n# A model\n"):
    (folder / "README.md").write_text(f"---\n{header}\n---\n{rest}", encoding="utf-8")
    return folder


def test_stated_license_is_that_of_the_header(tmp_path):
    assert stated(write_header(tmp_path, "tags:\n- x\nlicense: apache-2.0\n")) == "apache-2.0"
    # A card may be long, its header is not.
    assert stated(write_header(tmp_path, "license: mit", "license: gpl-3.0\n" * 100_000)) == "mit"


UNUSABLE = ["[x]", "", "5", "[mit]", "{mit: 1}", "MIT License", "<b>mit</b>", "2024-01-01", "true"]


@pytest.mark.parametrize(
    "header", [*(f"license: {value}" for value in UNUSABLE), "tags: [mit]", "- license: mit", "mit"]
)
def test_header_without_usable_license(tmp_path, header):
    assert stated(write_header(tmp_path, header)) is None


def test_card_without_header_and_no_card_state_nothing(tmp_path):
    assert stated(tmp_path) is None
    (tmp_path / "README.md").write_text("license: mit\n", encoding="utf-8")
    assert stated(tmp_path) is None
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    assert stated(tmp_path) is None


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    "header",
    [
        "license: [mit",
        "license: 'mit",
        "license: !!python/name:os.system x",
        "? [a]\n: b",
        "license: " + "[" * 30_000,
        "- " * 30_000,
        # Beyond what is read of a header.
        "#" * 70_000,
        # Values that PyYAML fails on with whatever exception it comes across.
        "date: 2024-99-99",
        "date: !!timestamp x",
        "count: !!int ''",
        "flag: !!bool x",
        "ratio: 1" + ":1" * 300 + ".0",
        "count: " + "9" * 5000,
        # 9**39 items for whoever follows each alias.
        BOMB,
    ],
    ids=lambda header: header[:25],
)
def test_hostile_header_stops_nothing(tmp_path, header):
    assert stated(write_header(tmp_path, f"{header}\nlicense: mit")) in (None, "mit")


def test_card_that_is_no_text_states_nothing(tmp_path):
    (tmp_path / "README.md").write_bytes(b"---\nlicense: mit\n---\n\xff\xfe")
    assert stated(tmp_path) is None
