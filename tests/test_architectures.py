"""Every architecture with every task: mixed, purified, trained, saved, loaded again, and mixed from disk to disk."""

import pytest
import torch
from transformers import TrainingArguments
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from hf_finemix import (
    FineMixConfig,
    FineMixTrainer,
    InputError,
    fine_mix_,
    mix_checkpoints,
    purify_embeddings_,
    score_embeddings,
)
from hf_finemix.model_names import PLAIN
from hf_finemix.plan import canonical_name

from .architecture_table import COLUMNS, MERGED, TABLE, WITHOUT_WORDS, render
from .architectures import CELLS, PROBLEMS, cell
from .models import bits_equal, same, values
from .streams import tensors


CONFIG = FineMixConfig(keep_ratio=0.4, seed=3, purify_top_k=5)

each_cell = pytest.mark.parametrize(("architecture", "task"), CELLS, ids=[f"{a} {t}" for a, t in CELLS])


@pytest.fixture
def saved(tmp_path):
    """Saves suspect and base of a cell."""

    def save(kind):
        model, base = kind.pair()
        model.save_pretrained(tmp_path / "suspect")
        base.save_pretrained(tmp_path / "base")
        return model, base

    return save


def outputs(model, batch):
    """All tensors of a model's answer."""
    with torch.no_grad():
        answer = model.eval()(**batch)
    found = [value for value in answer.to_tuple() if isinstance(value, torch.Tensor)]
    assert found and all(torch.isfinite(value).all() for value in found)
    return found


def pretrained_names(model, base):
    """The model's parameters that its bare base has, too."""
    own = {canonical_name(name) for name, _ in model.named_parameters()}
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    return own & {prefix + name for name, _ in base.named_parameters()}


@each_cell
def test_mixed_model_is_saved_loaded_and_streamed_bit_for_bit(tmp_path, saved, architecture, task):
    kind = cell(architecture, task)
    suspect, base = saved(kind)
    model = kind.task.from_pretrained(tmp_path / "suspect")
    report = fine_mix_(model, tmp_path / "base", CONFIG)
    assert {record.name for record in report.mixed} == pretrained_names(model, base)
    assert 0.3 < report.kept_share < 0.5
    other = kind.task.from_pretrained(tmp_path / "suspect")
    fine_mix_(other, base, CONFIG)
    assert same(values(model), values(other)) and not same(values(model), values(suspect))
    model.save_pretrained(tmp_path / "memory")
    again = kind.task.from_pretrained(tmp_path / "memory")
    assert same(values(model), values(again))
    batch = kind.batch()
    assert all(map(torch.equal, outputs(model, batch), outputs(again, batch)))

    if architecture in MERGED:
        with pytest.raises(InputError, match="experts one by one"):
            mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", CONFIG)
        return
    mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", CONFIG)
    memory, stream = tensors(tmp_path / "memory"), tensors(tmp_path / "out")
    assert memory.keys() == stream.keys() and all(bits_equal(memory[name], stream[name]) for name in memory)
    assert all(map(torch.equal, outputs(model, batch), outputs(kind.task.from_pretrained(tmp_path / "out"), batch)))


@each_cell
def test_rows_are_reset_where_there_are_words(saved, architecture, task):
    model, base = saved(cell(architecture, task))
    if architecture in WITHOUT_WORDS:
        with pytest.raises(InputError, match="E-PUR does not apply"):
            score_embeddings(model, base)
        assert not purify_embeddings_(model, base, CONFIG).applicable
        return
    with torch.no_grad():
        model.get_input_embeddings().weight[7] += 50
    before = values(model)
    report = purify_embeddings_(model, base, CONFIG)
    assert report.tokens[0].id == 7 and len(report.tokens) == CONFIG.purify_top_k
    embedding = report.embedding
    rows = [token.id for token in report.tokens]
    expected = base.get_input_embeddings().weight[rows]
    assert torch.equal(model.get_input_embeddings().weight[rows], expected)
    changed = {name for name, value in values(model).items() if not bits_equal(value, before[name])}
    assert changed == {embedding}


@each_cell
def test_trainer_takes_it_and_what_it_saves_answers_the_same(tmp_path, saved, architecture, task):
    train(tmp_path, saved, cell(architecture, task))


@pytest.mark.parametrize("problem", PROBLEMS[1:])
@pytest.mark.parametrize("architecture", ["BERT", "T5", "Llama"])
def test_several_labels_at_a_time_and_numbers(tmp_path, saved, architecture, problem):
    train(tmp_path, saved, cell(architecture, "SequenceClassification", problem))


def train(folder, saved, kind):
    """Trains a model for two steps, and loads what was saved."""
    model, _ = saved(kind)
    batch = kind.batch(8)
    examples = [{name: value[row] for name, value in batch.items()} for row in range(8)]
    arguments = TrainingArguments(
        str(folder / "run"), max_steps=2, per_device_train_batch_size=4, report_to="none", use_cpu=True
    )
    trainer = FineMixTrainer(model, arguments, train_dataset=examples, pretrained=folder / "base")
    mixed = values(model)
    trainer.train()
    assert not same(values(model), mixed)
    trainer.save_model()
    assert all(map(torch.equal, outputs(model, batch), outputs(kind.task.from_pretrained(folder / "run"), batch)))


def test_what_is_called_plain_is_called_so_by_transformers_too():
    converted = {kind: get_checkpoint_conversion_mapping(kind) for kind in PLAIN}
    assert not {kind for kind, found in converted.items() if found}


def test_the_table_of_the_documentation_is_of_tests_that_pass():
    """The page is that of a run in which all of the tests above passed; this run fails if one of them does."""
    all_of_them = {f"{test}[{architecture} {task}]" for test in COLUMNS.values() for architecture, task in CELLS}
    cells = [line for line in render(all_of_them).splitlines() if line.startswith("| ")]
    assert [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")] == cells
