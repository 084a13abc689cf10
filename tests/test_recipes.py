"""Recipes: what a card shows is what `purify --recipe` does, and nothing else gets through."""

from dataclasses import fields, replace

import pytest
import yaml

from hf_finemix import FineMixConfig, InputError
from hf_finemix.card import DefenseCard, render_card
from hf_finemix.masks import MASK_VERSION
from hf_finemix.recipes import DEFAULT_RECIPE, NO_DISTILLATION, read_recipe, settings, to_yaml
from hf_finemix.results import Distillation, Recipe

from .reports import make_report


CONFIG = FineMixConfig(
    keep_ratio=0.45,
    selection="largest_drift",
    seed=2**63,
    purify_top_k=7,
    frequency_floor=3,
    exclude=("a.*[#:]", "^b "),
    align_vocabulary=True,
    allow_unmatched=True,
)
RECIPE = Recipe(3, 5e-06, 4, 96, "my words.txt", 17, 0.06, True)
# Each setting differs from its default.
DISTILLATION = Distillation(
    **{
        item.name: item.default + 3 if isinstance(item.default, int) else item.default / 4
        for item in fields(Distillation)
    }
)
OTHERS = FineMixConfig(), make_report().recipe, Distillation()


def everything():
    """All settings, each another one than by default."""
    return settings(CONFIG, RECIPE, DISTILLATION, MASK_VERSION)


@pytest.fixture
def read(tmp_path):
    """Reads a recipe from its text."""

    def from_text(text, defaults=OTHERS):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return read_recipe(path, *defaults)

    return from_text


def test_card_block_gives_the_same_settings(read):
    report = make_report()
    report = replace(report, mix=replace(report.mix, config=CONFIG), recipe=RECIPE, distillation=DISTILLATION)
    block = render_card(DefenseCard(report, "purified")).split("```yaml\n")[1].split("```")[0]
    assert read(block) == (CONFIG, RECIPE, DISTILLATION)


@pytest.mark.parametrize("distillation", [None, NO_DISTILLATION])
def test_card_of_a_model_without_distillation_gives_none(read, distillation):
    report = replace(make_report(), distillation=distillation)
    block = render_card(DefenseCard(report, "purified")).split("```yaml\n")[1].split("```")[0]
    assert read(block) == (report.config, report.recipe, NO_DISTILLATION)
    # What an earlier release made, and rendered, is rendered as it was.
    assert ("distillation" in block) == (distillation is not None)


def test_card_of_an_earlier_release_means_no_distillation(read):
    block = to_yaml(settings(CONFIG, RECIPE, None, MASK_VERSION))
    assert "epochs: 3" in block and "distillation" not in block
    assert read(block, (*OTHERS[:2], DISTILLATION)) == (CONFIG, RECIPE, NO_DISTILLATION)
    # One such setting is enough to tell that the step is known; the rest are the defaults.
    found = read(f"{block}\ndistillation_temperature: 3\n", (*OTHERS[:2], DISTILLATION))
    assert found == (CONFIG, RECIPE, replace(DISTILLATION, temperature=3))


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, learning_rate=1e-4), replace(RECIPE, learning_rate=1e-10)])
def test_yaml_goes_round(read, recipe):
    distillation = replace(DISTILLATION, learning_rate=recipe.learning_rate)
    assert read(to_yaml(settings(CONFIG, recipe, distillation, MASK_VERSION))) == (CONFIG, recipe, distillation)


def test_every_setting_counts(read):
    # Each differs from its default above, so that none can be lost on the way unseen.
    for chosen, usual in zip((CONFIG, RECIPE, DISTILLATION), OTHERS, strict=True):
        assert all(getattr(chosen, item.name) != getattr(usual, item.name) for item in fields(chosen))
    names = {item.name for item in fields(CONFIG)} | {item.name for item in fields(RECIPE)}
    names |= {f"distillation_{item.name}" for item in fields(DISTILLATION)}
    assert everything().keys() == names | {"training_seed", "mask_version"}


def test_both_seeds_are_told_apart(read):
    config, recipe, _ = read("seed: 3\ntraining_seed: 4")
    assert (config.seed, recipe.seed) == (3, 4)


@pytest.mark.parametrize("defaults", [OTHERS, (CONFIG, RECIPE, DISTILLATION)])
def test_partial_file_takes_the_rest_from_the_defaults(read, defaults):
    config, recipe, distillation = read("keep_ratio: 0.9\nepochs: 1\ndistillation_epochs: 2\n", defaults)
    assert config == replace(defaults[0], keep_ratio=0.9) and recipe == replace(defaults[1], epochs=1)
    assert distillation == replace(defaults[2], epochs=2)
    assert read("{}", defaults) == (*defaults[:2], NO_DISTILLATION)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kep_ratio: 0.5", r"unknown setting 'kep_ratio'; did you mean 'keep_ratio'\?"),
        ("training-seed: 5", r"unknown setting 'training-seed'; did you mean 'training_seed'\?"),
        ("distillation_epoch: 5", r"unknown setting 'distillation_epoch'; did you mean 'distillation_epochs'\?"),
        ("zzzz: 5", r"unknown setting 'zzzz'; known ones are keep_ratio, .*, mask_version\."),
        ("5: 5", r"unknown setting 5; known ones are"),
        ("null: 5", r"unknown setting None; known ones are"),
        # From the card of a trainer's model.
        ("mix_seed: 5", r"unknown setting 'mix_seed'; did you mean 'seed'\?"),
    ],
)
def test_unknown_setting_names_the_nearest(read, text, message):
    with pytest.raises(InputError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("keep_ratio: 1.5", "keep_ratio"),
        ("keep_ratio: .nan", "keep_ratio"),
        ("keep_ratio: a lot", "keep_ratio"),
        ("keep_ratio: true", "keep_ratio"),
        ("keep_ratio:", "keep_ratio"),
        ("keep_ratio: " + "9" * 400, "keep_ratio"),
        ("selection: best", "selection"),
        ("selection: [random]", "selection"),
        ("seed: -1", "seed"),
        ("seed: 0.5", "seed"),
        ("training_seed: 4294967296", "seed"),
        ("purify_top_k: -1", "purify_top_k"),
        ("frequency_floor: 1", "frequency_floor"),
        ("exclude: classifier", "exclude"),
        ("exclude: [5]", "exclude"),
        ("exclude: ['(']", "exclude"),
        ("exclude: ['a{99999999999999999999}']", "exclude"),
        ("epochs: 0", "epochs"),
        ("epochs: '8'", "epochs"),
        ("epochs: true", "epochs"),
        ("batch_size: 0", "batch_size"),
        ("max_length: 0", "max_length"),
        ("learning_rate: 0", "learning_rate"),
        ("learning_rate: 1.0", "learning_rate"),
        ("learning_rate: .inf", "learning_rate"),
        ("frequencies: 5", "frequencies"),
        ("frequencies:", "frequencies"),
        ("warmup: half", "warmup"),
        ("warmup: -0.1", "warmup"),
        ("warmup: 7", "warmup"),
        ("group_by_length: 1", "group_by_length"),
        ("distillation_epochs: -1", "distillation_epochs"),
        ("distillation_epochs: 1.5", "distillation_epochs"),
        ("distillation_batch_size: 0", "distillation_batch_size"),
        ("distillation_learning_rate: 0", "distillation_learning_rate"),
        ("distillation_temperature: 0", "distillation_temperature"),
        ("distillation_temperature: hot", "distillation_temperature"),
        ("distillation_temperature: .nan", "distillation_temperature"),
        ("distillation_candidates: many", "distillation_candidates"),
        ("distillation_flips: 1.5", "distillation_flips"),
        ("distillation_share: -0.1", "distillation_share"),
        ("distillation_share:", "distillation_share"),
    ],
)
def test_wrong_value_is_named(read, text, name):
    with pytest.raises(InputError, match=rf"^--recipe '.*recipe.yaml'.*\b{name}\b") as refused:
        read(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no settings"),
        ("# only a comment", "holds no settings"),
        ("- keep_ratio: 0.5", "holds no settings"),
        ("keep_ratio", "holds no settings"),
        ("0.5", "holds no settings"),
        ("keep_ratio: [0.5", "no readable YAML"),
        ("keep_ratio: 0.5\n---\nseed: 5", "no readable YAML"),
        ("keep_ratio: !!python/name:os.system x", "no readable YAML"),
        ("exclude: " + "[" * 30_000, "no readable YAML"),
        ("keep_ratio: 0.5\x00", "no readable YAML"),
        # PyYAML fails on these with whatever exception it comes across.
        ("seed: 2024-99-99", "no readable YAML"),
        ("seed: !!timestamp x", "no readable YAML"),
        ("seed: !!int ''", "no readable YAML"),
        ("keep_ratio: !!bool x", "no readable YAML"),
        ("mask_version: 2", "is of mask version 2, but this release draws version 1"),
        ("mask_version: '1'", "is of mask version '1'"),
        ("mask_version:", "is of mask version None"),
    ],
    ids=lambda text: text[:25],
)
def test_what_is_no_recipe_is_refused(read, text, message):
    with pytest.raises(InputError, match=message) as refused:
        read(text)
    assert str(refused.value).startswith("--recipe '") and "\n" not in str(refused.value)


def test_mask_version_is_this_one():
    assert yaml.safe_load(to_yaml(everything()))["mask_version"] == MASK_VERSION == 1


def test_file_is_read_whole_or_not_at_all(read):
    # A setting beyond the limit must not be lost without a word.
    with pytest.raises(InputError, match="--recipe"):
        read("keep_ratio: 0.5\n#" + "x" * 70_000 + "\nseed: 5\n")


def test_huge_file_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    with path.open("wb") as file:
        file.write(b"keep_ratio: 0.5\n#")
        file.truncate(1 << 33)
    with pytest.raises(InputError, match="--recipe"):
        read_recipe(path, *OTHERS)


def test_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--recipe '.*missing.yaml' cannot be read: No such file or directory\."):
        read_recipe(tmp_path / "missing.yaml", *OTHERS)
    with pytest.raises(InputError, match=r"cannot be read: Is a directory\."):
        read_recipe(tmp_path, *OTHERS)
    (tmp_path / "latin.yaml").write_bytes("frequencies: wörter".encode("latin-1"))
    with pytest.raises(InputError, match="no readable YAML"):
        read_recipe(str(tmp_path / "latin.yaml"), *OTHERS)


def test_number_that_yaml_takes_for_a_word_is_a_number(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("learning_rate: 3e-4\ndistillation_learning_rate: 2e-5\n")
    _, recipe, distillation = read_recipe(path, FineMixConfig(), DEFAULT_RECIPE, Distillation())
    assert (recipe.learning_rate, distillation.learning_rate) == (3e-4, 2e-5)
