import json

import pytest

from hf_finemix import FineMixConfig, InputError


def test_defaults_are_those_of_the_contract():
    assert FineMixConfig() == FineMixConfig(
        keep_ratio=0.3, selection="random", seed=0, purify_top_k=200, frequency_floor=20, exclude=()
    )


def test_round_trip_through_json_gives_an_equal_configuration():
    config = FineMixConfig(0.125, "largest_drift", 2**64 - 1, 7, 33, ["pooler", r"layer\.0\."])
    assert config.exclude == ("pooler", r"layer\.0\.")
    assert FineMixConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_configuration_is_frozen_and_hashable():
    with pytest.raises(AttributeError):
        FineMixConfig().seed = 1
    assert len({FineMixConfig(), FineMixConfig(exclude=[])}) == 1


@pytest.mark.parametrize("ratio", [0, 1, 0.0, 1.0, 2**-16])
def test_both_ends_of_the_ratio_are_allowed(ratio):
    assert FineMixConfig(keep_ratio=ratio).keep_ratio == ratio


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("keep_ratio", -0.1),
        ("keep_ratio", 1.1),
        ("keep_ratio", float("nan")),
        ("keep_ratio", float("inf")),
        ("keep_ratio", True),
        ("keep_ratio", "0.3"),
        ("keep_ratio", None),
        ("selection", "fisher?"),
        ("selection", None),
        ("selection", ["random"]),
        ("seed", -1),
        ("seed", 2**64),
        ("seed", 1.0),
        ("seed", True),
        ("purify_top_k", -1),
        ("purify_top_k", 2.5),
        ("frequency_floor", 1),
        ("frequency_floor", 20.0),
        ("exclude", "pooler"),
        ("exclude", None),
        ("exclude", 5),
        ("exclude", {"pooler": 1}),
        ("exclude", ("(",)),
        ("exclude", (5,)),
        ("exclude", (b"pooler",)),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_it(setting, value):
    with pytest.raises(InputError) as error:
        FineMixConfig(**{setting: value})
    assert f"`{setting}`" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match="keep_rate"):
        FineMixConfig.from_dict({"keep_rate": 0.3})
