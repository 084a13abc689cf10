"""`FineMixTrainingArguments`: parsed from a command line or a dictionary, checked at once."""

import pytest
from transformers import HfArgumentParser, TrainingArguments

from hf_finemix import FineMixConfig, FineMixTrainingArguments, InputError


@pytest.fixture
def parser():
    return HfArgumentParser(FineMixTrainingArguments)


@pytest.fixture
def make(tmp_path):
    return lambda **settings: FineMixTrainingArguments(output_dir=str(tmp_path), report_to="none", **settings)


def test_defaults_are_those_of_the_configuration(make):
    assert make(seed=0).fine_mix_config() == FineMixConfig()


def test_mask_seed_defaults_to_the_seed(make):
    assert make(seed=7).fine_mix_config().seed == 7
    assert make(seed=7, mix_seed=0).fine_mix_config().seed == 0


def test_command_line_is_parsed(parser, tmp_path):
    line = [
        *("--output_dir", str(tmp_path), "--keep_ratio", "0.5", "--selection", "smallest_drift", "--mix_seed", "3"),
        *("--purify_top_k", "10", "--frequency_floor", "30", "--frequencies", "wordfreq", "--allow_mixed"),
        *("--mix_exclude", "classifier", r"layer\.0", "--learning_rate", "1e-4"),
    ]
    (args,) = parser.parse_args_into_dataclasses(line)
    expected = FineMixConfig(0.5, "smallest_drift", 3, 10, 30, ("classifier", r"layer\.0"))
    assert args.fine_mix_config() == expected
    assert args.frequencies == "wordfreq"
    assert args.allow_mixed is True
    assert args.learning_rate == 1e-4


def test_dictionary_is_parsed_and_round_trips(parser, tmp_path):
    (args,) = parser.parse_dict({"output_dir": str(tmp_path), "keep_ratio": 1, "mix_exclude": ["pooler"]})
    assert args.fine_mix_config() == FineMixConfig(1, seed=42, exclude=("pooler",))
    known = {name: value for name, value in args.to_dict().items() if not name.endswith("_token")}
    (again,) = parser.parse_dict(known)
    assert again.fine_mix_config() == args.fine_mix_config()


def test_help_is_printed(parser, capsys):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in ("keep_ratio", "selection", "mix_seed", "purify_top_k", "frequencies", "mix_exclude", "allow_mixed"):
        assert f"--{name}" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"keep_ratio": 1.5}, "`keep_ratio` is 1.5"),
        ({"keep_ratio": float("nan")}, "`keep_ratio` is nan"),
        ({"selection": "some"}, "`selection` is 'some'"),
        ({"mix_seed": -1}, "`seed` is -1"),
        ({"purify_top_k": -1}, "`purify_top_k` is -1"),
        ({"frequency_floor": 1}, "`frequency_floor` is 1"),
        ({"mix_exclude": ["("]}, "no regular expression"),
        ({"mix_exclude": "classifier"}, "`mix_exclude` is the string 'classifier'"),
    ],
)
def test_values_out_of_range_are_refused(make, settings, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        make(**settings)


def test_pushes_at_the_end_by_default(make):
    assert make().hub_strategy == "end"


def test_is_a_training_arguments_class_whose_own_fields_come_last(make):
    assert isinstance(make(), TrainingArguments)
    names = list(FineMixTrainingArguments.__dataclass_fields__)
    assert names[: len(TrainingArguments.__dataclass_fields__)] == list(TrainingArguments.__dataclass_fields__)
