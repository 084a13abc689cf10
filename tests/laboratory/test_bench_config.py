"""The configuration of a bench: what it makes of YAML, and what it refuses."""

import pytest

from hf_finemix import InputError
from hf_finemix.laboratory.bench_config import read_bench_config
from hf_finemix.recipes import PLAIN_RECIPE


def test_cells_are_every_combination_and_those_of_a_suspect_are_neighbours(laboratory):
    config = read_bench_config(laboratory.write(seeds=[0, 1], clean_examples=[4, 8]))
    cells = config.cells()
    assert len(cells) == 2 * 2 * 2 * 2  # seeds, sizes, defences, E-PUR
    suspects = [cell.suspect.id for cell in cells]
    assert suspects == sorted(suspects, key=suspects.index)
    assert len(set(suspects)) == 2
    assert len({cell.id for cell in cells}) == len(cells)


def test_defaults(laboratory):
    config = {key: laboratory.config[key] for key in ("tasks", "models", "attacks", "defenses")}
    cell = read_bench_config(config).cells()[0]
    assert cell.margin == 0.03
    assert cell.clean_examples == 64
    assert cell.recipe.epochs == PLAIN_RECIPE.epochs
    assert cell.recipe.max_length == 16  # the task's


def test_fields_at_the_top_are_defaults_of_each_grid(laboratory):
    shared = laboratory.config | {"seeds": [7]}
    config = read_bench_config(shared | {"grids": [{}, {"seeds": [8], "defenses": ["fine_tuning"]}]})
    assert [grid.seeds for grid in config.grids] == [(7,), (8,)]
    assert {cell.label for cell in config.cells() if cell.suspect.clean.seed == 8} == {"fine_tuning"}


def test_a_cell_of_two_grids_is_run_once(laboratory):
    once = read_bench_config(laboratory.config)
    twice = read_bench_config(laboratory.config | {"grids": [{}, {}]})
    assert [cell.id for cell in once.cells()] == [cell.id for cell in twice.cells()]


def test_the_attack_gets_seed_and_target_of_its_cell(laboratory):
    cell = read_bench_config(laboratory.write(seeds=[5])).cells()[0]
    attack = cell.suspect.make_attack()
    assert (attack.seed, attack.target_label, attack.words) == (5, 1, ("cf", "mn"))


def test_a_number_without_a_point_is_a_learning_rate(laboratory):
    path = laboratory.write()
    path.write_text(path.read_text().replace("0.001", "1e-3"))
    assert read_bench_config(path).cells()[0].recipe.learning_rate == 1e-3


@pytest.mark.parametrize("change", ["train", "max_length"])
def test_the_id_of_a_cell_depends_on_the_task_itself(laboratory, change):
    before = read_bench_config(laboratory.write()).cells()[0]
    task = laboratory.root / "films.yaml"
    task.write_text(task.read_text().replace(f"{change}: ", f"{change}: 1"))
    after = read_bench_config(laboratory.write()).cells()[0]
    assert before.id != after.id
    assert before.suspect.id != after.suspect.id


def test_ids_do_not_depend_on_what_changes_no_figure(laboratory):
    before = read_bench_config(laboratory.write()).cells()[0]
    for name in ("films", "small"):
        path = laboratory.root / f"{name}.yaml"
        path.write_text(path.read_text().replace("title: ", "title: other "))
    after = read_bench_config(laboratory.write(rank_by=["vocabulary"])).cells()[0]
    assert after.suspect.clean.task.title != before.suspect.clean.task.title
    assert (after.id, after.suspect.id, after.suspect.clean.id) == (
        before.id,
        before.suspect.id,
        before.suspect.clean.id,
    )


def test_the_margin_is_no_business_of_the_suspect(laboratory):
    cells = [read_bench_config(laboratory.write(margin=margin)).cells()[0] for margin in (0.01, 0.02)]
    assert cells[0].id != cells[1].id
    assert cells[0].suspect.id == cells[1].suspect.id


def test_other_models_are_those_of_the_grids_other_tasks_or_of_the_named_ones(laboratory):
    films, sounds = (str(laboratory.root / f"{name}.yaml") for name in ("films", "sounds"))
    cells = read_bench_config(laboratory.config | {"tasks": [films, sounds], "defenses": ["wag"]}).cells()
    assert [[other.task.name for other in cell.others] for cell in cells[::2]] == [["sounds"], ["films"]]
    cell = read_bench_config(laboratory.config | {"others": [sounds], "defenses": ["wag"]}).cells()[0]
    assert [other.task.name for other in cell.others] == ["sounds"]


def test_texts_of_another_task_for_an_attacker_without_data(laboratory):
    attack = {"name": "embedding_poisoning", "data": "other"}
    with pytest.raises(InputError, match="'embedding_poisoning' takes texts of another task; name it"):
        read_bench_config(laboratory.config | {"attacks": [attack]})
    sounds = str(laboratory.root / "sounds.yaml")
    cell = read_bench_config(laboratory.config | {"attacks": [attack], "other_texts": sounds}).cells()[0]
    assert cell.suspect.other.name == "sounds"
    films = str(laboratory.root / "films.yaml")
    with pytest.raises(InputError, match=r"on the task 'films' takes texts of another .* `other_texts` is 'films'"):
        read_bench_config(laboratory.config | {"attacks": [attack], "other_texts": films})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"recipe": {"frequencies": "clean texts"}}, "`frequencies` of `recipe` names 'clean texts'"),
        ({"defenses": [{"name": "high_rate_fine_tuning", "factors": [1e6]}]}, "`learning_rate` is 1000.0"),
        ({"atacks": ["word"]}, "unknown field 'atacks'; did you mean 'attacks'"),
        ({"attacks": ["wrod"]}, "Unknown attack 'wrod'; did you mean 'word'"),
        ({"attacks": [{"name": "word", "word": ["cf"]}]}, "'word' has no field 'word'; did you mean 'words'"),
        ({"attacks": [{"name": "word", "words": ["c f"]}]}, "`words` holds 'c f'"),
        ({"attacks": [{"name": "word", "position": "middle"}]}, "`position` is 'middle'"),
        ({"attacks": [{"name": "word", "poison_rate": 0}]}, "`poison_rate` is 0"),
        ({"attacks": [{"name": "word", "seed": 3}]}, "`seed` of the attack 'word' comes from"),
        ({"attacks": [{"words": ["cf"]}]}, "an entry of `attacks` is"),
        ({"attacks": ["word", {"name": "word", "words": ["mn"]}]}, "Two different attacks are called 'word'"),
        ({"attacks": []}, "`attacks` is \\[\\]"),
        ({"attacks": [{"name": "word", "label": " "}]}, "`label` is ' '"),
        ({"defenses": ["fine_tunning"]}, "Unknown defense 'fine_tunning'; did you mean 'fine_tuning'"),
        ({"defenses": [{"name": "fine_mixing", "keep_ratio": 0.3}]}, "did you mean 'keep_ratios'"),
        ({"defenses": [{"name": "fine_mixing", "keep_ratios": [1.5]}]}, "`keep_ratio` is 1.5"),
        ({"defenses": [{"name": "fine_mixing", "keep_ratios": [0.5, 0.5]}]}, "`keep_ratios` is"),
        ({"defenses": [{"name": "fine_mixing", "keep_ratios": []}]}, "`keep_ratios` is"),
        ({"defenses": [{"name": "fine_mixing", "selection": "drift"}]}, "`selection` is 'drift'"),
        ({"defenses": [{"name": "high_rate_fine_tuning", "factors": [1]}]}, "`factors` is"),
        ({"tasks": ["moveis"]}, "Unknown task 'moveis'; did you mean 'movies'"),
        ({"tasks": ["nowhere.yaml"]}, "task 'nowhere.yaml' cannot be read"),
        ({"models": ["minilmm"]}, "Unknown model 'minilmm'; did you mean 'minilm'"),
        ({"seeds": [-1]}, "`seeds` is -1"),
        ({"seeds": [1, 1]}, "none of them twice"),
        ({"clean_examples": [1]}, "`clean_examples` is 1"),
        ({"margin": 1.5}, "`margin` is 1.5"),
        ({"margin": True}, "`margin` is True"),
        ({"e_pur": ["yes"]}, "`e_pur` is \\['yes'\\]"),
        ({"recipe": {"epoch": 2}}, "`recipe` has no field 'epoch'; did you mean 'epochs'"),
        ({"recipe": {"epochs": 0}}, "`epochs` is 0"),
        ({"recipe": {"learning_rate": "fast"}}, "could not convert"),
        ({"recipe": 3}, "`recipe` is 3"),
        ({"grids": {}}, "`grids` must be a list"),
        ({"grids": [{"attack": []}]}, "unknown field 'attack'"),
    ],
)
def test_refusals(laboratory, changed, message):
    with pytest.raises(InputError, match=message) as error:
        read_bench_config(laboratory.write(**changed))
    assert "config.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["tasks", "attacks", "defenses"])
def test_what_has_no_default_must_be_there(laboratory, key):
    del laboratory.config[key]
    with pytest.raises(InputError, match=f"`{key}` is missing"):
        read_bench_config(laboratory.config)


def test_two_tasks_of_one_name(laboratory):
    other = laboratory.root / "more"
    other.mkdir()
    (other / "films.yaml").write_text((laboratory.root / "films.yaml").read_text().replace("40", "41"))
    with pytest.raises(InputError, match="Two different tasks are called 'films'"):
        read_bench_config(laboratory.write(tasks=[str(laboratory.root / "films.yaml"), str(other / "films.yaml")]))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no settings"), ("a: [", "no readable YAML"), ("a: &x [1]\nb: *x", "aliases"), ("[1]", "no settings")],
)
def test_files_that_are_no_configuration(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_bench_config(path)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.yaml' cannot be read: No such file"):
        read_bench_config(tmp_path / "nowhere.yaml")
