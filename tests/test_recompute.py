"""Mixing done again from its inputs, and finding the files that a mixed model came from."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_finemix import FineMixConfig, InputError, fine_mix_, purify_embeddings_, score_embeddings
from hf_finemix.choices import SELECTIONS
from hf_finemix.hashes import TensorRecord, describe_tensors
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.modeling import PurifyReport
from hf_finemix.provenance import Provenance, find_sources
from hf_finemix.recompute import load_pair, mix_again, mixed_tensors, named_tensors
from hf_finemix.twin import load_twin

from .hub import LoopbackHub, connect
from .models import bits_equal, make_pair, same, values


FAMILIES = ["bert", "roberta", "distilbert", "gpt2"]
CARD = "---\nlicense: mit\n---\n# A model\n"


def mix(model, base, config):
    """Mixes and purifies; gives both reports and the ids of the rows that were reset."""
    scores = score_embeddings(model, base)
    report = fine_mix_(model, base, config)
    purified = purify_embeddings_(model, base, config, scores)
    return report, purified, [token.id for token in purified.tokens]


def names_of(report):
    return [record.name for record in report.mixed]


@pytest.fixture(params=FAMILIES)
def folders(request, tmp_path):
    """Checkpoints of a suspect and of its base."""
    return save_pair(tmp_path, request.param)


@pytest.fixture
def bert(tmp_path):
    return save_pair(tmp_path, "bert")


def save_pair(root, family, dtype=torch.float32):
    for name, model in zip(("suspect", "base"), make_pair(family), strict=True):
        model.to(dtype).save_pretrained(root / name)
        (root / name / "README.md").write_text(CARD)
    return resolve_checkpoint(root / "suspect", "suspect"), resolve_checkpoint(root / "base", "base")


# mix_again


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mixing_again_is_mixing(family, selection, dtype):
    config = FineMixConfig(keep_ratio=0.4, selection=selection, seed=3, purify_top_k=7)
    model, base = (part.to(dtype) for part in make_pair(family))
    before = values(model)
    mixed, _ = make_pair(family)
    report, purified, rows = mix(mixed.to(dtype), base, config)
    assert len(rows) == 7 and len(report.mixed) > 20
    again = dict(mix_again(model, load_twin(model, base), config, names_of(report), purified.embedding, rows))
    assert list(again) == names_of(report)
    assert all(bits_equal(again[name], tensor) for name, tensor in values(mixed).items() if name in again)
    assert describe_tensors(list(again.items())) == mixed_tensors(mixed, report)
    # What was mixed is a copy.
    assert same(values(model), before) and not getattr(model.config, "finemix", None)
    assert not bits_equal(again[purified.embedding], before[purified.embedding])


@pytest.mark.parametrize("selection", SELECTIONS)
def test_settings_of_the_mixing_are_those_given(selection):
    config = FineMixConfig(keep_ratio=0.4, selection=selection, purify_top_k=4, exclude=("layer.0",))
    model, base = make_pair("bert")
    mixed, _ = make_pair("bert")
    report, purified, rows = mix(mixed, base, config)
    expected = mixed_tensors(mixed, report)

    def again(config=config, names=names_of(report), embedding=purified.embedding, rows=rows):  # noqa: B008
        return describe_tensors(list(mix_again(model, load_twin(model, base), config, names, embedding, rows)))

    assert again() == expected
    assert again(config=replace(config, keep_ratio=0.5)) != expected
    assert (again(config=replace(config, seed=1)) != expected) == (selection == "random")
    assert again(rows=rows[1:]) != expected and again(embedding=None) != expected
    assert again(embedding="bert.embeddings.position_embeddings.weight", rows=rows[:1]) != expected
    # The cut of a selection by drift is found over all tensors: with fewer, others are kept.
    assert (again(names=names_of(report)[:-4]) == expected[:-4]) == (selection == "random")


def test_what_a_stranger_writes_into_a_manifest_does_no_harm():
    config = FineMixConfig(purify_top_k=3)
    model, base = make_pair("bert")
    twin = load_twin(model, base)
    name = twin.embedding
    plain = dict(mix_again(model, twin, config, [name], name, []))
    odd = dict(mix_again(model, twin, config, ["nothing", name, "classifier.weight"], name, [-1, 48, 10**30]))
    assert odd.keys() == {name} and bits_equal(odd[name], plain[name])
    (record,) = describe_tensors(mix_again(model, twin, config, [name], name, [2, 2, 0, -48, 2**63]))
    changed = dict(mix_again(model, twin, config, [name], name, [0, 2]))[name]
    assert (record,) == describe_tensors([(name, changed)])
    assert torch.equal(changed[[0, 2]], twin.tensors[name][[0, 2]]) and torch.equal(changed[3:], plain[name][3:])


def test_record_of_a_tensor_can_be_made_without_this_package():
    model, base = make_pair("bert")
    for record in mixed_tensors(model, fine_mix_(model, base)):
        array = model.get_parameter(record.name).detach().numpy()
        content = np.ascontiguousarray(array).astype("<f4").tobytes()
        assert (record.dtype, record.shape) == ("float32", array.shape)
        assert record.sha256 == hashlib.sha256(content).hexdigest()


# load_pair


def test_pair_is_what_was_saved(folders):
    suspect, base = folders
    cls = suspect.config["architectures"][0]
    model, twin = load_pair(suspect, base, cls, ())
    original, plain = make_pair(suspect.config["model_type"])
    assert type(model) is type(original) and same(values(model), values(original))
    pretrained = {f"{model.base_model_prefix}.{name}": tensor for name, tensor in values(plain).items()}
    shared = {name: tensor for name, tensor in pretrained.items() if name in values(model)}
    assert len(shared) > 20 and same(dict(twin.tensors), shared)


def test_tensors_are_loaded_in_the_dtype_that_was_mixed(bert):
    records = [
        TensorRecord("bert.pooler.dense.weight", "bfloat16", (), ""),
        TensorRecord("bert.pooler.dense.bias", "float64", (), ""),
        TensorRecord("classifier.weight", "int8", (), ""),
        TensorRecord("classifier.bias", "nn", (), ""),
    ]
    model, twin = load_pair(*bert, "BertForSequenceClassification", records)
    dtypes = {name: tensor.dtype for name, tensor in named_tensors(model).items()}
    assert dtypes.pop("bert.pooler.dense.weight") == torch.bfloat16
    assert dtypes.pop("bert.pooler.dense.bias") == torch.float64
    assert set(dtypes.values()) == {torch.float32}
    assert twin.tensors["bert.pooler.dense.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "name", ["os", "AutoModelForSequenceClassification", "BertTokenizer", "BertConfig", "BertModel.__init__", "", "x"]
)
def test_class_that_is_no_model_of_transformers_is_refused(bert, name):
    with pytest.raises(InputError, match="no model class"):
        load_pair(*bert, name, ())


@pytest.mark.parametrize("name", ["PreTrainedModel", "BertPreTrainedModel", "GPT2LMHeadModel", "T5EncoderModel"])
def test_class_that_is_none_of_the_suspect_is_refused(bert, name):
    with pytest.raises(InputError) as error:
        load_pair(*bert, name, ())
    assert "\n" not in str(error.value)


def test_base_of_another_model_is_refused(bert, tmp_path):
    _, base = save_pair(tmp_path / "other", "roberta")
    with pytest.raises(InputError, match="another architecture"):
        load_pair(bert[0], base, "BertForSequenceClassification", ())


# find_sources


def provenance(suspect, pretrained, dtype=None, selection="random", name=None):
    """Mixes a suspect as a user's script does, and says what it remembers."""
    config = FineMixConfig(purify_top_k=3, selection=selection)
    cls = suspect.config["architectures"][0]
    model, _ = load_pair(suspect, pretrained, cls, ())
    model = model if dtype is None else model.to(dtype)
    report, purified, _ = mix(model, pretrained, config)
    name = str(suspect.folder) if name is None else name
    return Provenance(cls, name, pretrained, report, purified, mixed_tensors(model, report), "vocabulary")


@pytest.mark.parametrize("selection", SELECTIONS)
def test_files_are_found_by_the_tensors_that_they_give(folders, selection):
    found = find_sources(provenance(*folders, selection=selection))
    for record, checkpoint in zip((found.suspect, found.pretrained), folders, strict=True):
        assert (record.name, record.repo_id, record.commit) == (checkpoint.folder.name, None, None)
        contents = {path.name: path.read_bytes() for path in checkpoint.files}
        assert {file.name: file.sha256 for file in record.files} == {
            name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
        }
        assert {file.name: file.size for file in record.files} == {n: len(c) for n, c in contents.items()}
        assert {"config.json", "model.safetensors"} <= contents.keys()
    assert found.licenses == {"suspect": "mit", "pretrained": "mit"}


@pytest.mark.parametrize(("stored", "loaded"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_files_are_found_of_a_model_that_was_loaded_in_another_dtype(tmp_path, stored, loaded):
    pair = save_pair(tmp_path, "bert", getattr(torch, stored))
    known = provenance(*pair, dtype=getattr(torch, loaded))
    assert {record.dtype for record in known.tensors} == {loaded}
    assert find_sources(known).suspect.files and find_sources(known).pretrained.files


def test_name_of_a_base_that_was_a_model_object_is_looked_up(bert):
    known = replace(provenance(*bert), pretrained=str(bert[1].folder))
    assert find_sources(known) == find_sources(provenance(*bert))


def test_relative_names_are_found(bert, monkeypatch):
    monkeypatch.chdir(bert[0].folder.parent)
    found = find_sources(provenance(*bert, name="suspect"))
    assert found.suspect.files and found.suspect.name == "suspect"


def spoil_suspect(known, bert):
    model = load_pair(*bert, known.architecture, ())[0]
    model.bert.pooler.dense.weight.data[0] += 1
    model.save_pretrained(bert[0].folder)


def spoil_base(known, bert):
    _, other = make_pair("bert", seed=7)
    other.save_pretrained(bert[1].folder)


def spoil_config(known, bert):
    (bert[0].folder / "config.json").write_text("{}")


@pytest.mark.parametrize("spoil", [spoil_suspect, spoil_base, spoil_config])
def test_files_that_give_other_tensors_are_not_named(bert, spoil):
    known = provenance(*bert)
    spoil(known, bert)
    found = find_sources(known)
    assert (found.suspect.name, found.pretrained.name) == ("suspect", "base")
    assert (found.suspect.files, found.pretrained.files) == ((), ())
    assert found.licenses == {"suspect": None, "pretrained": None}


def test_rows_of_another_purification_are_not_proved(bert):
    known = replace(provenance(*bert), purify=PurifyReport(applicable=True))
    assert find_sources(known).suspect.files == ()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "a model object"),
        ("{root}/gone", "gone"),
        ("./gone", "gone"),
        ("~/gone", "gone"),
        ("../runs/gone", "gone"),
        ("runs/of/gone", "gone"),
        ("someone/gone", "someone/gone"),
    ],
)
def test_names_that_lead_nowhere_are_given_without_a_path(bert, name, shown):
    found = find_sources(provenance(*bert, name=name.format(root=bert[0].folder.parent)))
    assert (found.suspect.name, found.suspect.files) == (shown, ())
    assert (found.pretrained.name, found.pretrained.files) == ("base", ())


def test_name_of_a_hub_model_is_proved_at_its_present_commit_or_not_at_all(bert, tmp_path, monkeypatch):
    with LoopbackHub() as hub:
        commits = [hub.add_model(f"me/{part.folder.name}", part.folder) for part in bert]
        connect(monkeypatch, hub, tmp_path / "home")
        known = replace(provenance(*bert), suspect="me/suspect", pretrained="me/base")
        found = find_sources(known)
        assert (found.suspect.repo_id, found.suspect.commit) == ("me/suspect", commits[0])
        assert (found.pretrained.repo_id, found.pretrained.commit) == ("me/base", commits[1])
        assert found.suspect.files and found.pretrained.files
        other = make_pair("bert", seed=7)[0]
        other.save_pretrained(tmp_path / "other")
        hub.add_model("me/suspect", {"model.safetensors": (tmp_path / "other" / "model.safetensors").read_bytes()})
        found = find_sources(known)
        assert (found.suspect.name, found.suspect.commit, found.suspect.files) == ("me/suspect", None, ())
