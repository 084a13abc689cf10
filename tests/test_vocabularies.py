"""Suspects whose vocabulary is not the base's: resized, with added tokens, in another order."""

import json

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, BertTokenizerFast, LlamaConfig, LlamaForCausalLM, LlamaModel

from hf_finemix import (
    FineMixConfig,
    FineMixTrainer,
    FineMixTrainingArguments,
    InputError,
    fine_mix_,
    mix_checkpoints,
    purify_embeddings_,
    scan,
    score_embeddings,
    verify,
)
from hf_finemix.masks import keep_mask
from hf_finemix.twin import load_twin
from hf_finemix.vocabularies import align_rows, check_rows

from .conftest import VOCABULARY
from .files import run
from .models import bits_equal, family, make
from .streams import CONFIG, mix_in_memory, tensors


NAME = "bert.embeddings.word_embeddings.weight"
ADDED = ("[unseen]", "qx", "zz")


def save_sizes(folder, name, sizes):
    """Saves a suspect and a base with vocabularies of these sizes; gives the suspect's class."""
    for place, size, seed in zip(("suspect", "base"), sizes, (1, 0), strict=True):
        kind = family(name)
        kind.config.vocab_size = size
        make(kind.task if seed else kind.bare, kind.config, seed).save_pretrained(folder / place)
    return family(name).task


@pytest.mark.parametrize("selection", ["random", "smallest_drift"])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.parametrize("sizes", [(53, 48), (48, 60)])
def test_memory_and_disk_mix_the_rows_that_both_have(tmp_path, name, sizes, selection):
    task = save_sizes(tmp_path, name, sizes)
    config = FineMixConfig(0.3, selection, 7, 0)
    report = mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", config)
    model = task.from_pretrained(tmp_path / "suspect")
    again = fine_mix_(model, tmp_path / "base", config)
    out, memory = tensors(tmp_path / "out"), tensors(mix_in_memory(tmp_path, task, config))
    assert out.keys() == memory.keys() and all(bits_equal(out[key], memory[key]) for key in out)
    assert set(again.mixed) == set(report.mixed)
    (record,) = [item for item in again.mixed if item.shape[0] == sizes[0] and len(item.shape) == 2]
    extra = sizes[0] - min(sizes)
    assert record.reason.endswith("but for 5 of its rows, which are kept") == (extra > 0)
    suspect = tensors(tmp_path / "suspect")
    rows = next(key for key in suspect if key.endswith(record.name))
    assert bits_equal(out[rows][min(sizes) :], suspect[rows][min(sizes) :])
    assert not bits_equal(out[rows][: min(sizes)], suspect[rows][: min(sizes)])


def test_a_base_object_of_another_size(tmp_path):
    task = save_sizes(tmp_path, "bert", (53, 48))
    from_files, from_object = (task.from_pretrained(tmp_path / "suspect") for _ in range(2))
    fine_mix_(from_files, tmp_path / "base", CONFIG)
    fine_mix_(from_object, family("bert").bare.from_pretrained(tmp_path / "base"), CONFIG)
    pairs = zip(from_files.parameters(), from_object.parameters(), strict=True)
    assert all(bits_equal(first, second) for first, second in pairs)


def test_a_padding_token_that_the_base_lacks(tmp_path):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = make(LlamaModel, LlamaConfig(vocab_size=40, **sizes))
    suspect = make(LlamaForCausalLM, LlamaConfig(vocab_size=41, pad_token_id=40, **sizes), 1)
    base.save_pretrained(tmp_path / "base")
    before = suspect.model.embed_tokens.weight.detach().clone()
    fine_mix_(suspect, tmp_path / "base", FineMixConfig(keep_ratio=0.0, purify_top_k=0))
    rows = suspect.model.embed_tokens.weight
    assert bits_equal(rows[:40], base.embed_tokens.weight) and bits_equal(rows[40], before[40])
    assert suspect.config.pad_token_id == 40 and suspect.config.vocab_size == 41


def test_added_tokens_have_no_score_and_are_never_reset(tmp_path):
    task = save_sizes(tmp_path, "bert", (53, 48))
    model = task.from_pretrained(tmp_path / "suspect")
    scores = score_embeddings(model, tmp_path / "base")
    assert scores.shape == (53,) and (scores[:48] > 0).all() and not scores[48:].any()
    report = purify_embeddings_(model, tmp_path / "base", FineMixConfig(purify_top_k=200), scores)
    assert len(report.tokens) == 48 and report.vocabulary == 53
    suspect = tensors(tmp_path / "suspect")[NAME]
    assert bits_equal(model.get_input_embeddings().weight[48:], suspect[48:])


# By tokens.


def test_rows_are_checked():
    check_rows({"a": 0, "b": 1, "new": 2, "newer": 5}, {"a": 0, "b": 1, "c": 3}, "org/base")
    with pytest.raises(InputError, match=r"number 1 is 'c', but 'b' in the suspect; give the weights .*, or else\.$"):
        check_rows({"a": 0, "b": 1}, {"a": 0, "c": 1}, "org/base", ", or else")


def test_rows_are_aligned():
    suspect = {"b": 0, "a": 1, "new": 2, "d": 5}
    base = {"a": 0, "b": 1, "c": 2, "d": 3}
    found = align_rows(suspect, base, (7, 6), "org/base")
    # The third is another token's in the base, the fourth nobody's here but another's there, the fifth nobody's.
    assert found.tolist() == [1, 0, -1, -1, 4, 3, -1]
    with pytest.raises(InputError, match="suspect's tokenizer has two tokens of one number"):
        align_rows(suspect | {"alias": 1}, base, (7, 6), "org/base")
    with pytest.raises(InputError, match="it has 1 of the suspect's 4 tokens"):
        align_rows(suspect, {"a": 0, "x": 1}, (7, 6), "org/base")


def tokenizer_of(tokens):
    return BertTokenizerFast(vocab={token: index for index, token in enumerate(tokens)}, model_max_length=64)


@pytest.fixture
def moved(place):
    """A workplace whose suspect has its vocabulary in another order, and three tokens more."""
    order = np.random.default_rng(0).permutation(len(VOCABULARY))
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    weight = model.get_input_embeddings().weight.detach().clone()
    model.resize_token_embeddings(len(order) + 3, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[: len(order)] = weight[order]
    model.config.pad_token_id = int(np.flatnonzero(order == 0)[0])
    model.save_pretrained(place.suspect)
    tokenizer_of([VOCABULARY[row] for row in order] + list(ADDED)).save_pretrained(place.suspect)
    return place, order


def test_vocabularies_of_another_order_are_refused(moved, capsys):
    place, _ = moved
    status, _, err = run(capsys, place.arguments())
    assert status == 2 and "has another vocabulary: number 0 is '[PAD]'" in err and "--align-vocabulary" in err
    with pytest.raises(InputError, match="has another vocabulary"):
        mix_checkpoints(place.suspect, place.base, place.output, CONFIG)
    with pytest.raises(InputError, match="has another vocabulary"):
        scan(place.suspect, place.base)
    assert not place.output.exists()


def test_order_counts_where_the_size_is_the_same(place):
    tokenizer_of([*VOCABULARY[:-2], VOCABULARY[-1], VOCABULARY[-2]]).save_pretrained(place.base)
    with pytest.raises(InputError, match=r"has another vocabulary: number 62 is ',', but '\.' in the suspect"):
        mix_checkpoints(place.suspect, place.base, place.output, CONFIG)
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    with pytest.raises(InputError, match="has another vocabulary"):
        score_embeddings(model, place.base, tokenizer=BertTokenizerFast.from_pretrained(place.suspect))
    with pytest.raises(InputError, match="`align_vocabulary` needs loaded models"):
        mix_checkpoints(place.suspect, place.base, place.output, FineMixConfig(align_vocabulary=True))


@pytest.mark.parametrize("kind", ["vocab.txt", "unigram", "odd"])
def test_vocabularies_are_read_from_files_of_any_kind(place, kind):
    path = place.base / "tokenizer.json"
    content = json.loads(path.read_text())
    if kind == "vocab.txt":
        for folder in (place.suspect, place.base):
            (folder / "tokenizer.json").unlink()
            (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
        (place.base / "vocab.txt").write_text("\n".join([*VOCABULARY[:-2], VOCABULARY[-1], VOCABULARY[-2]]))
    elif kind == "unigram":
        tokens = [*VOCABULARY[:-2], VOCABULARY[-1], VOCABULARY[-2]]
        content["model"] = {"type": "Unigram", "unk_id": 1, "vocab": [[token, 0.0] for token in tokens]}
        path.write_text(json.dumps(content))
    else:
        content["model"]["vocab"] = {"x": "y"}
        path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"has another vocabulary|cannot be loaded"):
        mix_checkpoints(place.suspect, place.base, place.output, CONFIG)


def test_rows_are_paired_by_their_tokens(moved):
    place, order = moved
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    tokenizer = BertTokenizerFast.from_pretrained(place.suspect)
    config = FineMixConfig(0.3, seed=3, align_vocabulary=True, purify_top_k=0)
    before = model.get_input_embeddings().weight.detach().clone()
    base = tensors(place.base)["embeddings.word_embeddings.weight"]
    report = fine_mix_(model, place.base, config, tokenizer=tokenizer)
    after = model.get_input_embeddings().weight
    kept = keep_mask(NAME, tuple(before.shape), 0.3, 3)
    paired = torch.cat([base[order], before[len(order) :]])
    assert bits_equal(after, torch.where(torch.as_tensor(kept), before, paired))
    assert "3 of its rows" in next(record.reason for record in report.mixed if record.name == NAME)
    scores = score_embeddings(
        BertForSequenceClassification.from_pretrained(place.suspect),
        load_twin(BertForSequenceClassification.from_pretrained(place.suspect), place.base, config, tokenizer),
    )
    assert (scores[: len(order)] > 0).all() and not scores[len(order) :].any()


@pytest.mark.parametrize("tokenizer", [None, "theirs"])
def test_what_pairing_needs(moved, tokenizer):
    place, _ = moved
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    config = FineMixConfig(align_vocabulary=True)
    if tokenizer:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (place.base / name).unlink()
        tokenizer = BertTokenizerFast.from_pretrained(place.suspect)
    with pytest.raises(InputError, match="`align_vocabulary` needs a"):
        fine_mix_(model, place.base, config, tokenizer=tokenizer)


def test_a_purification_by_tokens_can_be_verified(moved, capsys):
    place, _ = moved
    status, _, err = run(capsys, place.arguments("--align-vocabulary", "--allow-unrelated"))
    assert status == 0, err
    found = verify(place.output, suspect=place.suspect, pretrained=place.base)
    assert not found.failed(), found
    assert "align_vocabulary: true" in (place.output / "README.md").read_text()


def test_a_purification_with_added_tokens_can_be_verified(place, capsys):
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    model.resize_token_embeddings(len(VOCABULARY) + 3, mean_resizing=False)
    model.save_pretrained(place.suspect)
    tokenizer_of([*VOCABULARY, *ADDED]).save_pretrained(place.suspect)
    status, out, err = run(capsys, place.arguments("--dry-run"))
    assert status == 0 and "but for 3 of its rows, which are kept" in out, err
    status, _, err = run(capsys, place.arguments())
    assert status == 0, err
    found = verify(place.output, suspect=place.suspect, pretrained=place.base)
    assert not found.failed(), found
    assert BertForSequenceClassification.from_pretrained(place.output).config.vocab_size == len(VOCABULARY) + 3
    report = scan(place.suspect, place.base)
    assert f"{NAME}, its last 3 rows" in report.absent and report.tokens


def test_a_trainer_checks_and_pairs_vocabularies(moved, tmp_path):
    place, order = moved
    tokenizer = BertTokenizerFast.from_pretrained(place.suspect)

    def trainer(**options):
        model = BertForSequenceClassification.from_pretrained(place.suspect)
        args = FineMixTrainingArguments(tmp_path / "runs", keep_ratio=0.0, purify_top_k=0, report_to="none", **options)
        return FineMixTrainer(model, args, pretrained=place.base, processing_class=tokenizer)

    with pytest.raises(InputError, match="or set `align_vocabulary`"):
        trainer()
    base = tensors(place.base)["embeddings.word_embeddings.weight"]
    mixed = trainer(align_vocabulary=True).model.get_input_embeddings().weight
    assert bits_equal(mixed[: len(order)].cpu(), base[order])
