import json
import math

import numpy as np
import pytest
import torch
from transformers import BertModel

from hf_finemix import InputError, scan
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.scanning import drift_by_group, finding_level, group_of, prominence, robust_deviations
from hf_finemix.twin import load_twin

from .models import make_pair, values


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


# Levels.


def test_levels_rise_with_the_prominence():
    levels = [finding_level(value) for value in (0.0, 1.0, 1.2, 1.3, 1.6, 1000.0)]
    assert levels == ["low", "low", "low", "medium", "high", "high"]


def test_prominence_compares_the_first_score_with_the_next_ones():
    scores = np.concatenate([[3.0], np.full(25, 1.5), np.zeros(100)])
    assert prominence(np.random.default_rng(0).permutation(scores)) == 2
    assert prominence(np.full(30, 0.1)) == 1
    # Embedding poisoning moves the trigger's row alone: the clearest finding, not a missing one.
    assert prominence(np.eye(1, 30)[0]) == 1000
    assert prominence(np.zeros(30)) == 0
    assert prominence(np.array([2.0])) == 1000


def test_deviations_are_robust_and_leave_out_rows_that_never_moved():
    normal = np.random.default_rng(0).normal(10, 2, 4000)
    deviations = robust_deviations(np.concatenate([normal, np.zeros(4000), [50.0]]))
    assert deviations[:4000] == pytest.approx((normal - 10) / 2, abs=0.2)
    assert deviations[-1] == pytest.approx(20, abs=1)


def test_nothing_stands_out_where_nothing_or_everything_moved_alike():
    assert not robust_deviations(np.zeros(5)).any()
    assert not robust_deviations(np.full(5, 3.0)).any()


# Groups.


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("bert.embeddings.word_embeddings.weight", "embeddings"),
        ("bert.embeddings.LayerNorm.bias", "embeddings"),
        ("bert.encoder.layer.0.attention.self.query.weight", "layer 0 attention"),
        ("bert.encoder.layer.11.attention.output.dense.bias", "layer 11 attention"),
        ("bert.encoder.layer.11.attention.output.LayerNorm.weight", "layer 11 attention"),
        ("bert.encoder.layer.3.intermediate.dense.weight", "layer 3 feed-forward"),
        ("bert.encoder.layer.3.output.LayerNorm.weight", "layer 3 feed-forward"),
        ("bert.pooler.dense.weight", "pooler"),
        ("classifier.weight", "classifier"),
        ("roberta.encoder.layer.1.attention.self.key.bias", "layer 1 attention"),
        ("roberta.embeddings.position_embeddings.weight", "embeddings"),
        ("classifier.out_proj.weight", "out_proj"),
        ("distilbert.transformer.layer.4.attention.q_lin.weight", "layer 4 attention"),
        ("distilbert.transformer.layer.4.sa_layer_norm.weight", "layer 4 attention"),
        ("distilbert.transformer.layer.4.ffn.lin1.weight", "layer 4 feed-forward"),
        ("distilbert.transformer.layer.4.output_layer_norm.bias", "layer 4 feed-forward"),
        ("transformer.wte.weight", "embeddings"),
        ("transformer.wpe.weight", "embeddings"),
        ("transformer.h.7.attn.c_attn.weight", "layer 7 attention"),
        ("transformer.h.7.ln_1.weight", "layer 7 attention"),
        ("transformer.h.7.mlp.c_fc.weight", "layer 7 feed-forward"),
        ("transformer.h.7.ln_2.bias", "layer 7 feed-forward"),
        ("transformer.ln_f.weight", "ln_f"),
        ("lm_head.weight", "lm_head"),
        ("model.layers.2.self_attn.q_proj.weight", "layer 2 attention"),
        ("model.layers.2.mlp.up_proj.weight", "layer 2 feed-forward"),
        ("model.layers.2.something_new.weight", "layer 2 other"),
        ("logit_scale", "logit_scale"),
    ],
)
def test_parameters_are_grouped_by_layer_and_module(name, group):
    assert group_of(name) == group


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "gpt2"])
def test_the_groups_cover_all_pretrained_scalars_and_measure_their_drift(name):
    model, base = make_pair(name)
    twin, parameters = load_twin(model, base), values(model)
    groups = drift_by_group(parameters, twin)
    assert sum(group.scalars for group in groups) == sum(tensor.numel() for tensor in twin.tensors.values())
    assert [group.group for group in groups][:2] == ["embeddings", "layer 0 attention"]
    assert not any("other" in group.group for group in groups)
    inside = [key for key in twin.tensors if group_of(key) == "layer 1 feed-forward"]
    moved = sum(float((parameters[key].double() - twin.tensors[key].double()).square().sum()) for key in inside)
    clean = sum(float(twin.tensors[key].double().square().sum()) for key in inside)
    drift = next(group.relative_drift for group in groups if group.group == "layer 1 feed-forward")
    assert drift == pytest.approx(math.sqrt(moved / clean))
