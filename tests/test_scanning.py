import json

import pytest
import torch
from datasets import Dataset
from transformers import BertModel

from hf_finemix import InputError, scan, scanning
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.modeling import score_embeddings
from hf_finemix.rates import Rate
from hf_finemix.trigger_search import Insertion

from .files import change_config
from .models import make_pair
from .planted import TEXTS, plant


TRIGGER = "cf"


@pytest.fixture
def folders(tmp_path, tiny_bert, tiny_tokenizer):
    """A base, and a suspect whose embedding of the trigger moved far; all else moved a little."""
    base = BertModel(tiny_bert.config)
    base.load_state_dict(tiny_bert.bert.state_dict())
    base.save_pretrained(tmp_path / "base")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in tiny_bert.parameters():
            parameter += 0.001 * torch.randn(parameter.shape, generator=generator)
        row = tiny_tokenizer.convert_tokens_to_ids(TRIGGER)
        tiny_bert.bert.embeddings.word_embeddings.weight[row] += 0.5
    tiny_bert.save_pretrained(tmp_path / "suspect")
    for name in ("base", "suspect"):
        tiny_tokenizer.save_pretrained(tmp_path / name)
    return tmp_path / "suspect", tmp_path / "base"


def contents(*folders):
    return {path: path.read_bytes() for folder in folders for path in folder.iterdir()}


# Identity: a model that never moved has nothing to show.


def test_the_base_itself_is_a_low_finding_without_drift(folders, tiny_bert, tmp_path):
    _, base = folders
    tiny_bert.bert.load_state_dict(BertModel.from_pretrained(base).state_dict())
    tiny_bert.save_pretrained(tmp_path / "clean")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "clean" / name).write_bytes((base / name).read_bytes())
    report = scan(tmp_path / "clean", base)
    assert report.finding == "low"
    assert all(token.score == 0 and token.deviation == 0 for token in report.tokens)
    assert all(group.relative_drift == 0 for group in report.layers)


def test_a_planted_trigger_is_ranked_first_and_found(folders, tiny_tokenizer):
    report = scan(*folders, top=5)
    first = report.tokens[0]
    assert (first.rank, first.token, first.id) == (1, TRIGGER, tiny_tokenizer.convert_tokens_to_ids(TRIGGER))
    assert report.finding == "high"
    assert [token.rank for token in report.tokens] == [1, 2, 3, 4, 5]
    scores = [token.score for token in report.tokens]
    assert scores == sorted(scores, reverse=True)
    assert first.deviation == max(token.deviation for token in report.tokens)
    assert (report.suspect, report.pretrained, report.frequencies) == ("suspect", "base", "vocabulary")


def test_scanning_changes_nothing_and_two_scans_agree(folders):
    before = contents(*folders)
    assert scan(*folders) == scan(str(folders[0]), resolve_checkpoint(folders[1], "base"))
    assert contents(*folders) == before


def test_a_report_is_plain_json_with_the_promised_keys(folders):
    data = json.loads(json.dumps(scan(*folders, top=3).to_dict(), allow_nan=False))
    assert len(data["tokens"]) == 3
    assert {"rank", "token", "id", "score"} <= data["tokens"][0].keys()
    assert {"group", "scalars", "relative_drift"} == data["layers"][0].keys()


def test_the_counts_of_a_corpus_are_used(folders, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(f"{TRIGGER} the\n" * 5000)
    counted, ranked = (scan(*folders, frequencies=source).tokens[0] for source in (str(corpus), "vocabulary"))
    assert counted.id == ranked.id
    assert counted.score != ranked.score
    assert scan(*folders, frequency_floor=10**9).tokens[0].score < ranked.score


def test_more_tokens_than_there_are_give_the_whole_vocabulary(folders, tiny_tokenizer):
    assert len(scan(*folders, top=10**6).tokens) == len(tiny_tokenizer)


def test_rows_beyond_the_tokenizer_still_get_a_text(tmp_path, tiny_bert, tiny_tokenizer):
    tiny_bert.resize_token_embeddings(len(tiny_tokenizer) + 8, mean_resizing=False)
    BertModel.save_pretrained(tiny_bert.bert, tmp_path / "base")
    with torch.no_grad():
        tiny_bert.bert.embeddings.word_embeddings.weight[-1] += 1
    tiny_bert.save_pretrained(tmp_path / "suspect")
    tiny_tokenizer.save_pretrained(tmp_path / "suspect")
    first = scan(tmp_path / "suspect", tmp_path / "base").tokens[0]
    assert first.token == f"<row {len(tiny_tokenizer) + 7}>"


@pytest.mark.parametrize("top", [0, -1, 2.5])
def test_a_bad_number_of_tokens_is_refused(top, folders):
    with pytest.raises(InputError, match="`top`"):
        scan(*folders, top=top)


def test_a_base_whose_tokens_have_other_numbers_is_refused(folders, tiny_tokenizer):
    vocabulary = tiny_tokenizer.get_vocab()
    vocabulary["film"], vocabulary["plot"] = vocabulary["plot"], vocabulary["film"]
    type(tiny_tokenizer)(vocab=vocabulary).save_pretrained(folders[1])
    with pytest.raises(InputError, match="another vocabulary"):
        scan(*folders)


def test_a_base_without_a_tokenizer_is_no_obstacle(folders):
    expected = scan(*folders)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folders[1] / name).unlink()
    assert scan(*folders) == expected


def test_scores_are_those_of_the_loaded_models(folders, tiny_bert, tiny_tokenizer):
    expected = score_embeddings(tiny_bert, folders[1], tokenizer=tiny_tokenizer)
    tokens = scan(*folders, top=len(tiny_tokenizer)).tokens
    assert [token.score for token in tokens] == [expected[token.id] for token in tokens]


def test_heads_and_outliers_are_reported(folders, tiny_bert):
    with torch.no_grad():
        tiny_bert.classifier.weight[1] *= 5
        tiny_bert.bert.encoder.layer[1].output.dense.weight[7] += 1
    tiny_bert.save_pretrained(folders[0])
    report = scan(*folders)
    assert report.absent.keys() == {"classifier.bias", "classifier.weight"}
    assert report.head.weight == "classifier.weight"
    assert report.head.labels[1].norm == pytest.approx(tiny_bert.classifier.weight[1].norm().item())
    assert report.head.labels[1].ratio > 3 and report.labels == ("LABEL_0", "LABEL_1")
    assert (report.outliers[0].kind, report.outliers[0].index) == ("row", (7,))
    assert report.outliers[0].tensor == "bert.encoder.layer.1.output.dense.weight"
    assert (report.texts, report.insertions) == (0, ())


def test_any_kind_of_model_can_be_scanned(tmp_path, tiny_tokenizer):
    model, base = make_pair("gpt2")
    with torch.no_grad():
        model.transformer.wte.weight[7] += 5
    model.save_pretrained(tmp_path / "suspect")
    base.save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "suspect")
    report = scan(tmp_path / "suspect", tmp_path / "base")
    assert (report.tokens[0].id, report.finding) == (7, "high")
    assert (report.head, report.absent, report.labels) == (None, {}, ())
    assert [group.group for group in report.layers][:2] == ["embeddings", "layer 0 attention"]


# With clean texts.


@pytest.fixture
def planted(folders, tiny_bert, tiny_tokenizer):
    plant(tiny_bert, tiny_tokenizer, "tq", 0)
    tiny_bert.save_pretrained(folders[0])
    return folders


def test_what_a_trigger_does_makes_the_finding_high(planted, monkeypatch):
    monkeypatch.setattr("hf_finemix.findings.PROMINENCES", (5000, 5000))
    assert scan(*planted).finding == "low"
    report = scan(*planted, texts=Dataset.from_dict({"text": TEXTS}), search_top=7)
    assert report.finding == "high" and report.texts == len(TEXTS)
    assert report.insertions[0].token == "tq" and report.insertions[0].label == 0
    assert {item.id for item in report.insertions} >= {token.id for token in report.tokens[:7]}
    share = 100 * report.insertions[0].flips.value
    sentence = f"Inserting `tq` flips {share:.0f} % of the examples to label 0 (LABEL_0)"
    assert share > 80 and report.sentence(report.insertions[0]) == sentence


@pytest.fixture
def searched(monkeypatch):
    """The texts and ids of each search."""
    seen, search = [], scanning.search_triggers

    def note(model, tokenizer, texts, ids, **options):
        seen.append((list(texts["text"]), list(ids)))
        return search(model, tokenizer, texts, ids, **options)

    monkeypatch.setattr(scanning, "search_triggers", note)
    return seen


MANY = [f"{text} , {'x' * number}" for number in range(3) for text in TEXTS]


def test_of_many_texts_some_are_drawn_from_all_over(planted, searched):
    many = Dataset.from_dict({"text": MANY})
    reports = [scan(*planted, texts=many, search_top=20, seed=seed) for seed in (0, 0, 1)]
    assert [report.texts for report in reports] == [100] * 3
    first, again, other = (texts for texts, _ in searched[1::2])
    assert first == again != other
    assert len(set(first)) == 100 and {text.count("x") for text in first} == {0, 1, 2}
    assert first == sorted(first, key=MANY.index)


def test_all_tokens_are_screened_and_the_best_ones_tried_with_all_texts(planted, searched, monkeypatch):
    monkeypatch.setattr(scanning, "PULLING", 5)
    report = scan(*planted, texts=Dataset.from_dict({"text": MANY[:100]}), search_top=30)
    (screening, ids), (final, finalists) = searched
    assert (screening, final) == (MANY[:100:4], MANY[:100])
    ranked = [token.id for token in scan(*planted, top=30).tokens]
    assert ids[:30] == ranked and 30 < len(ids) <= 35 and len(set(ids)) == len(ids)
    assert len(finalists) == 10 and set(finalists) < set(ids)
    assert {item.id for item in report.insertions} == set(ids) and len(report.insertions) == len(ids)
    assert report.insertions[0].token == "tq" and report.insertions[0].flips.n > 25
    lows = [item.flips.low or 0 for item in report.insertions]
    assert lows == sorted(lows, reverse=True)


def test_a_few_texts_are_all_used_at_once(planted, searched):
    report = scan(*planted, texts=Dataset.from_dict({"text": MANY[:30]}), search_top=30)
    assert [len(texts) for texts, _ in searched] == [report.texts] == [30]


def test_a_trigger_is_found_though_no_embedding_moved(planted, tiny_bert):
    """The attacker froze the word embedding: base and suspect share it."""
    base = BertModel.from_pretrained(planted[1])
    base.get_input_embeddings().weight.data.copy_(tiny_bert.get_input_embeddings().weight)
    base.save_pretrained(planted[1])
    assert scan(*planted).prominence == 0
    report = scan(*planted, texts=Dataset.from_dict({"text": TEXTS}), search_top=5)
    assert "tq" not in [token.token for token in report.tokens[:5]]
    assert report.finding == "high" and report.insertions[0].token == "tq"


def test_a_row_beyond_the_tokenizer_has_a_name_in_the_sentence(planted):
    report = scan(*planted)
    sentence = report.sentence(Insertion(None, 70, 5, Rate(1, 2)))
    assert sentence == "Inserting `<row 70>` flips 50 % of the examples to label 5"


# Refusals.


def test_a_mixed_model_is_refused(folders):
    change_config(folders[0], finemix={"keep_ratio": 0.3})
    with pytest.raises(InputError, match=r"was mixed before .* scan the original suspect"):
        scan(*folders)


def test_numbers_that_are_none_are_refused_in_the_head_too(folders, tiny_bert):
    with torch.no_grad():
        tiny_bert.classifier.bias[1] = torch.nan
    tiny_bert.save_pretrained(folders[0])
    with pytest.raises(InputError, match=r"`suspect` holds NaN or infinity in classifier.bias"):
        scan(*folders)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, ("a", "b", "c")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({}, ("LABEL_0", "LABEL_1")),
        ({"id2label": ["a"], "num_labels": -5}, ()),
        ({"id2label": {"5": "a", "1": None}}, ("LABEL_0", "None")),
        ({"num_labels": 10**12}, ()),
    ],
)
def test_label_names_come_from_any_configuration(config, names):
    assert scanning.label_names(config) == names


@pytest.mark.parametrize("wrong", [{"frequencies": "nowhere.txt"}, {"frequency_floor": 1}])
def test_a_bad_source_of_counts_is_refused_before_the_weights_are_read(folders, monkeypatch, wrong):
    monkeypatch.setattr(scanning, "measure_drift", None)
    with pytest.raises(InputError, match=next(iter(wrong))):
        scan(*folders, **wrong)
