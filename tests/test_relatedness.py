"""A base that is no relative of the suspect is named as such before anything is done."""

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, BertModel

from hf_finemix import InputError, mix_checkpoints, purify, relatedness, scan
from hf_finemix.mix_job import prepare_mix
from hf_finemix.plan_cosine import plan_cosine
from hf_finemix.relatedness import check_related, median_cosine

from .files import SHORT, run
from .models import make


@pytest.fixture(autouse=True)
def tiny_models_count(monkeypatch):
    """Has tiny models looked at, too."""
    monkeypatch.setattr(relatedness, "LEAST", 1)


@pytest.fixture
def stranger(place):
    """The same with a base of the same shape that was trained by somebody else."""
    base = BertModel.from_pretrained(place.base)
    make(BertModel, base.config, 77).save_pretrained(place.base)
    return place


def cosine(*pairs):
    return median_cosine(pairs, 1 << 30)


def test_cosines_of_matrices_that_are_alike_opposite_and_apart():
    generator = np.random.default_rng(0)
    one, other = generator.standard_normal((2, 40_000))
    assert cosine((one, one)) == pytest.approx(1) and cosine((one, -one)) == pytest.approx(-1)
    assert abs(cosine((one, other))) < 0.02
    assert cosine((one, one + 0.1 * other), (one, other), (one, one)) > 0.99
    assert cosine() is None and cosine((one * 0, one)) is None
    assert cosine((one * np.nan, one), (one, one)) == pytest.approx(1)
    # Half precision is summed up in float64.
    assert cosine((np.full(60_000, 100, np.float16),) * 2) == pytest.approx(1)


def test_nothing_is_said_of_models_that_are_made_up(stranger, capsys, monkeypatch):
    monkeypatch.undo()
    assert median_cosine([(np.ones(9), -np.ones(9))], relatedness.LEAST - 1) is None
    assert median_cosine([(np.ones(9), -np.ones(9))], relatedness.LEAST) == pytest.approx(-1)
    assert run(capsys, ["scan", stranger.suspect, "--pretrained", stranger.base])[0] == 0


def test_what_is_refused():
    for cosine in (None, 1.0, 0.5):
        check_related(cosine, "org/base")
    with pytest.raises(InputError, match=r"--pretrained 'org/base' is no relative of the suspect.* 0\.49,") as error:
        check_related(0.49, "org/base")
    assert "\n" not in str(error.value)


def commands(place):
    return {
        "scan": ["scan", place.suspect, "--pretrained", place.base],
        "mix": ["mix", place.suspect, "--pretrained", place.base, "--keep-ratio", "0.3", "--output", place.output],
        "mix --dry-run": ["mix", place.suspect, "--pretrained", place.base, "--keep-ratio", "0.3", "--dry-run"],
        "purify": [
            *("purify", place.suspect, "--pretrained", place.base, "--clean-data", place.clean),
            *("--output", place.output, "--epochs", "1", "--distillation-epochs", "0"),
        ],
    }


@pytest.mark.parametrize("command", ["scan", "mix", "mix --dry-run", "purify"])
def test_commands_refuse_a_stranger_unless_told_otherwise(stranger, capsys, command):
    arguments = commands(stranger)[command]
    status, out, err = run(capsys, arguments)
    assert status == 2 and not out and err.count("\n") == 1 and "no relative of the suspect" in err
    assert not stranger.output.exists()
    assert run(capsys, [*arguments, "--allow-unrelated"])[0] == 0


@pytest.mark.parametrize("command", ["scan", "mix", "mix --dry-run", "purify"])
def test_commands_take_a_relative(place, capsys, command):
    assert run(capsys, commands(place)[command])[0] == 0


def test_functions_do_the_same(stranger):
    with pytest.raises(InputError, match="no relative"):
        scan(stranger.suspect, stranger.base)
    with pytest.raises(InputError, match="no relative"):
        purify(stranger.suspect, stranger.base, stranger.clean, distillation=SHORT)
    with pytest.raises(InputError, match="no relative"):
        mix_checkpoints(stranger.suspect, stranger.base, stranger.output, check_base=True)
    # By itself, mixing takes what fits.
    mix_checkpoints(stranger.suspect, stranger.base, stranger.output)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.bfloat16), (torch.float16, torch.float64)])
def test_files_of_any_dtype_give_the_cosine_of_their_matrices(place, dtypes):
    pairs = ((place.suspect, BertForSequenceClassification), (place.base, BertModel))
    models = [cls.from_pretrained(folder).to(dtype) for (folder, cls), dtype in zip(pairs, dtypes, strict=True)]
    for model, (folder, _) in zip(models, pairs, strict=True):
        model.save_pretrained(folder)
    own = {name: value for name, value in models[0].bert.named_parameters() if value.dim() > 1}
    base = dict(models[1].named_parameters())
    flat = lambda tensor: tensor.detach().double().flatten().numpy()  # noqa: E731
    expected = cosine(*((flat(value), flat(base[name])) for name, value in own.items()))
    assert plan_cosine(prepare_mix(place.suspect, place.base).plan) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.9
