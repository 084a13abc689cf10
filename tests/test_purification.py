"""Scores and resets of word embeddings in whole models."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_finemix import (
    FineMixConfig,
    InputError,
    PurifyReport,
    fine_mix_,
    purify_embeddings_,
    score_embeddings,
)
from hf_finemix.twin import load_twin

from .models import VOCABULARY_SIZE, bits_equal, copy_of, family, make, make_pair, pretrained_values, same, values


FAMILIES = ["bert", "roberta", "distilbert", "gpt2"]
every_family = pytest.mark.parametrize("name", FAMILIES)


@every_family
def test_an_embedding_that_never_moved_scores_zero(name):
    model, base = make_pair(name)
    model.base_model.load_state_dict(base.state_dict(), strict=False)
    assert not score_embeddings(model, base).any()


@every_family
def test_the_row_that_moved_most_is_ranked_first_and_reset(name):
    model, base = make_pair(name)
    weight = model.get_input_embeddings().weight
    clean = pretrained_values(model, base)[load_twin(model, base).embedding]
    with torch.no_grad():
        weight.copy_(clean)
        weight[[7, 30]] += torch.tensor([[1.0], [5.0]])
    before = values(model)
    report = purify_embeddings_(model, base, FineMixConfig(purify_top_k=1))
    assert [token.id for token in report.tokens] == [30]
    assert bits_equal(weight[30], clean[30])
    assert not torch.equal(weight[7], clean[7])
    changed = [key for key, tensor in values(model).items() if not bits_equal(tensor, before[key])]
    assert changed == [report.embedding]
    assert report.tied_output == (name == "gpt2")
    assert report.vocabulary == VOCABULARY_SIZE


@pytest.mark.parametrize("source", ["folder", "object"])
def test_an_output_layer_of_its_own_is_neither_mixed_nor_purified(source, tmp_path):
    kind = family("gpt2")
    config = type(kind.config).from_dict(kind.config.to_dict() | {"tie_word_embeddings": False})
    model, base = make(kind.task, config, seed=1), make(kind.bare, config)
    base.save_pretrained(tmp_path / "base")
    before = values(model)
    assert "lm_head.weight" in before
    pretrained = base if source == "object" else tmp_path / "base"
    scores = score_embeddings(model, pretrained)
    fine_mix_(model, pretrained, FineMixConfig(keep_ratio=0))
    report = purify_embeddings_(model, pretrained, scores=scores)
    assert not report.tied_output
    assert same(values(model), before | pretrained_values(model, base))


def test_a_model_whose_embedding_has_no_counterpart_is_mixed_but_not_purified():
    model, base = make_pair("bert")
    twin = replace(load_twin(model, base), embedding=None)
    with pytest.raises(InputError, match="no word embedding"):
        score_embeddings(model, twin)
    before = values(model)
    assert purify_embeddings_(model, twin) == PurifyReport(applicable=False)
    assert same(values(model), before)


def test_scores_from_before_the_mixing_purify_the_mixed_model():
    model, base = make_pair("bert")
    config = FineMixConfig(keep_ratio=0.5, purify_top_k=3)
    scores = score_embeddings(model, base)
    fine_mix_(model, base, config)
    mixed = values(model)
    report = purify_embeddings_(model, base, config, scores)
    rows = [token.id for token in report.tokens]
    assert rows == np.argsort(-scores, kind="stable")[:3].tolist()
    weight, clean = model.get_input_embeddings().weight, base.get_input_embeddings().weight
    others = [row for row in range(VOCABULARY_SIZE) if row not in rows]
    assert bits_equal(weight[rows], clean[rows])
    assert bits_equal(weight[others], mixed["bert.embeddings.word_embeddings.weight"][others])


def test_a_mixed_model_is_never_scored():
    model, base = make_pair("bert")
    fine_mix_(model, base)
    before = values(model)
    with pytest.raises(InputError, match="mixed before"):
        score_embeddings(model, base)
    with pytest.raises(InputError, match="`scores` is missing"):
        purify_embeddings_(model, base)
    assert same(values(model), before)


def test_counts_change_the_ranking():
    model, base = make_pair("bert")
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(base.get_input_embeddings().weight)
        model.get_input_embeddings().weight[[10, 20]] += 1
    counts = np.full(VOCABULARY_SIZE, 1000.0)
    counts[20] = 20
    assert score_embeddings(model, base, counts).argmax() == 20
    counts[[10, 20]] = counts[[20, 10]]
    assert score_embeddings(model, base, counts).argmax() == 10
    assert score_embeddings(model, base, counts.tolist()).argmax() == 10


def test_the_configured_floor_is_used():
    model, base = make_pair("bert")
    counts = np.ones(VOCABULARY_SIZE)
    low = purify_embeddings_(copy_of(model), base, FineMixConfig(frequency_floor=20), frequencies=counts)
    high = purify_embeddings_(copy_of(model), base, FineMixConfig(frequency_floor=400), frequencies=counts)
    assert low.tokens[0].score == pytest.approx(2 * high.tokens[0].score)


def test_with_a_tokenizer_tokens_are_named_and_special_ones_left_out_of_the_ranking(tiny_bert, tiny_tokenizer):
    base = make(family("bert").bare, tiny_bert.config)
    plain = score_embeddings(tiny_bert, base)
    aware = score_embeddings(tiny_bert, base, tokenizer=tiny_tokenizer)
    assert not np.array_equal(plain, aware)
    assert np.array_equal(aware, score_embeddings(tiny_bert, base, "vocabulary", tokenizer=tiny_tokenizer))
    report = purify_embeddings_(tiny_bert, base, FineMixConfig(purify_top_k=4), tokenizer=tiny_tokenizer)
    for rank, token in enumerate(report.tokens, start=1):
        assert token.rank == rank
        assert token.token == tiny_tokenizer.convert_ids_to_tokens(token.id)
        assert token.score == aware[token.id]


def test_no_rows_are_reset_with_a_top_k_of_0():
    model, base = make_pair("bert")
    before = values(model)
    report = purify_embeddings_(model, base, FineMixConfig(purify_top_k=0))
    assert report.applicable
    assert report.tokens == ()
    assert same(values(model), before)


def test_more_rows_than_there_are_reset_the_whole_embedding():
    model, base = make_pair("bert")
    report = purify_embeddings_(model, base, FineMixConfig(purify_top_k=10**6))
    assert len(report.tokens) == VOCABULARY_SIZE
    assert bits_equal(model.get_input_embeddings().weight, base.get_input_embeddings().weight)


def test_an_excluded_embedding_is_not_mixed_but_purified():
    model, base = make_pair("bert")
    config = FineMixConfig(keep_ratio=0, purify_top_k=1, exclude=("word_embeddings",))
    before = values(model)["bert.embeddings.word_embeddings.weight"]
    scores = score_embeddings(model, base)
    fine_mix_(model, base, config)
    assert bits_equal(model.get_input_embeddings().weight, before)
    purify_embeddings_(model, base, config, scores)
    assert not bits_equal(model.get_input_embeddings().weight, before)


@pytest.mark.parametrize(
    "bad", [np.ones(3), np.ones((VOCABULARY_SIZE, 1)), np.array([np.nan] * VOCABULARY_SIZE), np.array(1.0)]
)
def test_scores_and_counts_that_do_not_fit_are_refused(bad):
    model, base = make_pair("bert")
    before = values(model)
    with pytest.raises(InputError, match="`scores`"):
        purify_embeddings_(model, base, scores=bad)
    with pytest.raises(InputError, match="`frequencies`"):
        score_embeddings(model, base, bad)
    assert same(values(model), before)


def test_a_source_of_counts_that_needs_a_tokenizer_asks_for_one():
    model, base = make_pair("bert")
    with pytest.raises(InputError, match="`tokenizer`"):
        score_embeddings(model, base, "wordfreq")


@pytest.mark.parametrize("damaged", ["model", "pretrained"])
def test_nan_in_an_embedding_is_refused(damaged):
    model, base = make_pair("bert")
    with torch.no_grad():
        (model if damaged == "model" else base).get_input_embeddings().weight[0, 0] = float("nan")
    for step in (score_embeddings, purify_embeddings_):
        with pytest.raises(InputError, match=f"`{damaged}` holds NaN"):
            step(model, base)
    if damaged == "pretrained":
        with pytest.raises(InputError, match="`pretrained` holds NaN"):
            purify_embeddings_(model, base, scores=np.ones(VOCABULARY_SIZE))


@every_family
def test_a_purify_report_survives_json(name, tiny_tokenizer):
    model, base = make_pair(name)
    for report in (
        purify_embeddings_(model, base, FineMixConfig(purify_top_k=3)),
        purify_embeddings_(model, base, FineMixConfig(purify_top_k=3), tokenizer=tiny_tokenizer),
        PurifyReport(applicable=False),
    ):
        assert PurifyReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
