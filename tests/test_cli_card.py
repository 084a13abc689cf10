"""`hf-finemix card`: renders the card of a real output folder again; and the card's recipe, pasted and run."""

import hashlib
import json
import shlex
import shutil

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

from hf_finemix.card_merge import BEGIN, END, generated_part, seal, split_card
from hf_finemix.cli.main import main
from hf_finemix.manifest import check_names, load_manifest

from .files import make_workplace, run


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_tokenizer):
    """The output folder of a small job, with its figures; made once for all tests."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = BertConfig(vocab_size=len(tiny_tokenizer), max_position_embeddings=64, initializer_range=0.5, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
    place = make_workplace(tmp_path_factory.mktemp("made"), model, tiny_tokenizer)
    options = ["--eval-data", str(place.clean), "--trigger", "cf", "--target-label", "positive"]
    assert main(place.arguments(*options, purify_top_k="3")) == 0
    return place.output


@pytest.fixture
def purified(made, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(made, tmp_path / "out")


@pytest.fixture
def card(capsys):
    """Renders a card and gives its text; fails if the command does."""

    def render(folder, *options):
        status, out, err = run(capsys, ["card", folder, *options])
        assert (status, err) == (0, ""), err
        assert out == f"Card: {folder / 'README.md'}\n"
        return (folder / "README.md").read_text(encoding="utf-8")

    return render


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(folder, old, new):
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_card_of_a_fresh_folder_stays_as_it_is(purified, card):
    before = contents(purified)
    card(purified)
    assert contents(purified) == before


def test_second_run_changes_nothing(purified, card):
    options = ["--name", "Better", "--repo-id", "me/better", "--license", "apache-2.0", "--language", "en"]
    edit(purified, BEGIN, f"Read this first.\n\n{BEGIN}")
    card(purified, *options)
    before = contents(purified)
    card(purified, *options)
    assert contents(purified) == before


def test_card_that_was_lost_comes_back(purified, card):
    before = (purified / "README.md").read_bytes()
    (purified / "README.md").unlink()
    card(purified)
    assert (purified / "README.md").read_bytes() == before


def test_manifest_is_brought_up_to_date(purified, card):
    before = load_manifest(purified)
    text = card(purified, "--name", "Better")
    after = load_manifest(purified)
    entries = {file.name: file for file in after.outputs}
    content = (purified / "README.md").read_bytes()
    entry = entries.pop("README.md")
    assert (entry.size, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    # All else is as it was, and in the order of the names.
    assert entries == {file.name: file for file in before.outputs if file.name != "README.md"}
    assert [file.name for file in after.outputs] == sorted(file.name for file in after.outputs)
    assert seal(text, after.card.keys) == after.card != before.card
    check_names(after.outputs)


def test_words_of_the_owner_are_kept(purified, card):
    edit(purified, BEGIN, f"Read this first.\n\n{BEGIN}")
    edit(purified, "\n## Reset tokens\n", "\n## My notes\n\nImportant.\n\n## Reset tokens\n")
    edit(purified, f"{END}\n", f"{END}\n\n## Contact\n\nWrite to me.\n")
    edit(purified, "---\n", "---\ninference: false\n")
    text = card(purified)
    assert (
        text.index("Read this first.") < text.index(BEGIN) < text.index(END) < text.index("## My notes\n\nImportant.")
    )
    assert text.endswith("## Contact\n\nWrite to me.\n") and text.count("## Reset tokens") == 1
    assert ModelCard(text).data.to_dict()["inference"] is False


def test_options_appear(purified, card):
    options = ["--name", "Better *model*", "--repo-id", "me/better", "--license", "apache-2.0", "--language", "en"]
    text = card(purified, *options)
    header = ModelCard(text).data
    assert (header.license, header.language, header.model_name) == ("apache-2.0", "en", "Better *model*")
    assert "\n# Better \\*model\\*\n" in text
    assert "hf-finemix verify me/better\n" in text and 'model="me/better"' in text
    assert "The publisher of this model states: apache-2.0." in text


@pytest.mark.parametrize(("options", "name"), [([], "out"), (["--repo-id", "me/better"], "better")])
def test_name_is_that_of_the_repository_or_the_folder(purified, card, options, name):
    text = card(purified, *options)
    assert f"\n# {name}\n" in text and ModelCard(text).data.model_name == name


def test_name_of_the_current_folder(purified, card, monkeypatch, capsys):
    monkeypatch.chdir(purified)
    assert run(capsys, ["card", "."])[0] == 0
    assert "\n# out\n" in (purified / "README.md").read_text(encoding="utf-8")


def test_licence_that_is_asked_for_replaces_an_earlier_one(purified, card):
    card(purified, "--license", "apache-2.0")
    text = card(purified, "--license", "mit")
    assert ModelCard(text).data.license == "mit"
    assert "The publisher of this model states: mit." in text


def test_licence_section_and_header_agree(purified, card):
    # The licence of the first run stays, since it may be the owner's by now.
    card(purified, "--license", "apache-2.0")
    text = card(purified)
    assert ModelCard(text).data.license == "apache-2.0"
    assert "The publisher of this model states: apache-2.0." in text and "none is stated here" not in text


def test_card_with_a_byte_order_mark(purified, card):
    # Some editors put one before the text; the Hub's library reads it, too.
    path = purified / "README.md"
    before = path.read_text(encoding="utf-8")
    path.write_bytes(b"\xef\xbb\xbf" + before.encode())
    text = card(purified)
    assert split_card(text)[1] == split_card(before)[1]


# What is refused


def refusal(capsys, *arguments):
    """The one line of a refused command."""
    status, out, err = run(capsys, ["card", *arguments])
    assert (status, out) == (2, ""), err
    assert err.startswith("hf-finemix card: error: ") and err.count("\n") == 1 and err.endswith("\n")
    return err


@pytest.mark.parametrize("text", ["MIT License", "", "<b>", "mit\nx"])
def test_bad_licence_is_refused(purified, capsys, text):
    before = contents(purified)
    assert "is no licence id of the Hub; take one such as apache-2.0." in refusal(
        capsys, purified, f"--license={text}"
    )
    assert contents(purified) == before


@pytest.mark.parametrize("text", ["a b", "a/b/c", "", 'x"); print("', "`x`", "a--b"])
def test_bad_repository_is_refused(purified, capsys, text):
    before = contents(purified)
    assert "--repo-id" in refusal(capsys, purified, f"--repo-id={text}")
    assert contents(purified) == before


def test_missing_folder_is_refused(tmp_path, capsys):
    assert "has no finemix_report.json" in refusal(capsys, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("x")
    assert str(tmp_path / "file") in refusal(capsys, tmp_path / "file")


@pytest.mark.parametrize("name", ["finemix_report.json", "finemix_manifest.json"])
def test_folder_without_records_is_refused(purified, capsys, name):
    (purified / name).unlink()
    before = contents(purified)
    assert f"has no {name}; give an output folder of hf-finemix." in refusal(capsys, purified)
    assert contents(purified) == before


def test_folder_of_a_model_is_refused(workplace, capsys):
    assert "has no finemix_report.json" in refusal(capsys, workplace.suspect)
    assert not (workplace.suspect / "README.md").exists()


@pytest.mark.parametrize("name", ["finemix_report.json", "finemix_manifest.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 200_000], ids=lambda content: content[:3])
def test_damaged_records_are_refused(purified, capsys, name, content):
    (purified / name).write_text(content)
    before = contents(purified)
    assert f"{name}' is damaged (" in refusal(capsys, purified)
    assert contents(purified) == before


STRANGE = {
    "figures of other triggers": (("evaluations", "suspect", "triggers"), []),
    "nothing before": (("evaluations", "suspect", "triggers", 0, "asr"), {"successes": 0, "n": 0}),
    "huge count": (("evaluations", "suspect", "accuracy"), {"successes": 10**400, "n": 10**400}),
    "huge tensor": (("mix", "parameters", 0, "kept_scalars"), 10**400),
    "huge metric": (("metrics",), {"x": 10**400}),
    # JSON can hold them, UTF-8 cannot.
    "lone surrogate in a licence": (("licenses",), {"suspect": "\ud800", "pretrained": "\ud800"}),
    "lone surrogate in a data set": (("clean_data", "repo_id"), "\ud800"),
    "lone surrogate in the recipe": (("recipe", "frequencies"), "\ud800"),
    "deep arguments": (("training",), {"x": json.loads("[" * 400 + "]" * 400)}),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_report_gives_a_card_or_a_refusal(purified, capsys, kind):
    path, value = STRANGE[kind]
    report = json.loads((purified / "finemix_report.json").read_text(encoding="utf-8"))
    part = report
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    if path == ("training",):
        report |= {"recipe": None, "made_by": "FineMixTrainer"}
    (purified / "finemix_report.json").write_text(json.dumps(report), encoding="utf-8")
    before = contents(purified)
    status, _, err = run(capsys, ["card", purified])
    assert status in (0, 2), err
    assert status == 0 or (contents(purified) == before and err.count("\n") == 1)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"---\nlicense: [mit\n---\n", b"---\n- a\n---\n", b"x" * (1 << 21)])
def test_card_that_cannot_be_updated_is_refused(purified, capsys, content):
    (purified / "README.md").write_bytes(content)
    before = contents(purified)
    assert "repair or remove it." in refusal(capsys, purified)
    assert contents(purified) == before


# The recipe


def pasted(text):
    """The recipe and the command of a card, as somebody would paste them."""
    recipe = text.split("```yaml\n")[1].split("```")[0]
    command = text.split("this repeats the job:\n\n```console\n")[1].split("```")[0]
    return recipe, shlex.split(command.replace("\\\n", ""))


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--keep-ratio=0.45", "--selection=smallest_drift", "--seed=3", "--purify-top-k=3"],
        ["--learning-rate=5e-5", "--batch-size=5", "--max-length=12", "--text-column=text", "--label-column=label"],
        ['--trigger=it\'s "so"', "--trigger=cf", "--target-label=negative", "--position=end", "--trigger-seed=4"],
    ],
    ids=["defaults", "mixing", "fine-tuning", "triggers"],
)
def test_pasted_recipe_gives_the_same_weights(workplace, capsys, monkeypatch, options):
    shutil.copy(workplace.clean, workplace.root / "test.csv")
    arguments = workplace.arguments(*options, "--eval-data", str(workplace.root / "test.csv"))
    assert run(capsys, arguments)[0] == 0
    first = workplace.output
    recipe, command = pasted((first / "README.md").read_text(encoding="utf-8"))
    assert command[:3] == ["hf-finemix", "purify", "suspect"] and command[-2:] == ["--output", "out"]
    # The names in the command are those of the folders and files, which whoever pastes it has at hand.
    elsewhere = workplace.root / "elsewhere"
    elsewhere.mkdir()
    for name in ("suspect", "base", "clean.csv", "test.csv"):
        (elsewhere / name).symlink_to(workplace.root / name)
    (elsewhere / "recipe.yaml").write_text(recipe, encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    status, _, err = run(capsys, command[1:])
    assert status == 0, err
    weights, again = (load_file(folder / "model.safetensors") for folder in (first, elsewhere / "out"))
    assert weights.keys() == again.keys()
    assert all(tensor.equal(again[name]) for name, tensor in weights.items())
    cards = [(folder / "README.md").read_text(encoding="utf-8") for folder in (first, elsewhere / "out")]
    assert generated_part(cards[0]) == generated_part(cards[1])


def test_options_go_before_the_recipe(workplace, capsys):
    (workplace.root / "recipe.yaml").write_text("keep_ratio: 0.9\nepochs: 1\ntraining_seed: 7\n")
    arguments = workplace.arguments("--recipe", str(workplace.root / "recipe.yaml"), "--keep-ratio=0.5")
    assert run(capsys, arguments)[0] == 0
    report = json.loads((workplace.output / "finemix_report.json").read_text(encoding="utf-8"))
    assert (report["mix"]["config"]["keep_ratio"], report["recipe"]["seed"]) == (0.5, 7)


def test_bad_recipe_is_refused(workplace, capsys):
    (workplace.root / "recipe.yaml").write_text("kep_ratio: 0.9\n")
    status, out, err = run(capsys, workplace.arguments("--recipe", str(workplace.root / "recipe.yaml")))
    assert (status, out) == (2, "") and "did you mean 'keep_ratio'?" in err and err.count("\n") == 1
    assert not workplace.output.exists()
