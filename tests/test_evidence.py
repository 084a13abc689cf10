"""Report, card and manifest in a folder: over exactly the files that belong to it, the same for the same inputs."""

from dataclasses import replace

from huggingface_hub import ModelCard

from hf_finemix import DefenseCard
from hf_finemix.evidence import rewrite_card, saved_files, write_evidence
from hf_finemix.hashes import sha256_file
from hf_finemix.manifest import load_manifest
from hf_finemix.records import FigureRecord
from hf_finemix.results import load_report

from .files import run


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_inputs_give_the_same_folder(workplace, capsys):
    folders = [workplace.root / name / "purified" for name in ("first", "second")]
    for folder in folders:
        assert run(capsys, workplace.arguments("--eval-data", workplace.clean, output=folder))[0] == 0
    first, second = map(files, folders)
    assert first == second
    assert {"README.md", "finemix_manifest.json", "finemix_report.json", "model.safetensors"} <= first.keys()


def test_no_path_of_the_machine_is_written(workplace, capsys):
    assert run(capsys, workplace.arguments("--eval-data", workplace.clean))[0] == 0
    found = [name for name, content in files(workplace.output).items() if str(workplace.root).encode() in content]
    assert found == []


def test_manifest_lists_every_file_but_itself(workplace, capsys):
    assert run(capsys, workplace.arguments())[0] == 0
    listed = {file.name: file for file in load_manifest(workplace.output).outputs}
    assert set(listed) == set(files(workplace.output)) - {"finemix_manifest.json"}
    for name, file in listed.items():
        assert file.sha256 == sha256_file(workplace.output / name)
        assert file.size == (workplace.output / name).stat().st_size


def test_figure_belongs_to_the_model(workplace, capsys):
    assert run(capsys, workplace.arguments())[0] == 0
    folder = workplace.output
    (folder / "figures").mkdir()
    (folder / "figures" / "frontier.png").write_bytes(b"\x89PNG of a curve")
    (folder / "figures" / "notes.txt").write_text("not ours")
    frontier = FigureRecord("figures/frontier.png", "ASR falls as accuracy does", "One point a recipe.")
    report = replace(load_report(folder), frontier=frontier)
    files_of_the_model = saved_files(folder) | {"tokenizer.json", "tokenizer_config.json"}
    manifest = write_evidence(folder, DefenseCard(report, "purified"), load_manifest(folder), files_of_the_model)
    names = {file.name for file in manifest.outputs}
    assert "figures/frontier.png" in names
    assert "figures/notes.txt" not in names
    card = ModelCard.load(folder / "README.md").text
    assert "![ASR falls as accuracy does](figures/frontier.png)" in card
    assert "One point a recipe." in card


def test_card_written_again_leaves_the_rest_alone(workplace, capsys):
    assert run(capsys, workplace.arguments())[0] == 0
    before = files(workplace.output)
    rewrite_card(workplace.output, DefenseCard(load_report(workplace.output), "another name"))
    after = files(workplace.output)
    assert {name for name in before if before[name] != after[name]} == {"README.md", "finemix_manifest.json"}
    listed = {file.name: file.sha256 for file in load_manifest(workplace.output).outputs}
    assert listed["README.md"] == sha256_file(workplace.output / "README.md")
