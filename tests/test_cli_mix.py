"""`hf-finemix mix`: what it prints and refuses, and that its output can be verified, carded and pushed like others."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import FineMixConfig, fine_mix_, verify
from hf_finemix.manifest import load_manifest
from hf_finemix.publishable import check_files
from hf_finemix.results import load_report
from hf_finemix.verification import DIFFERENT, NOT_AVAILABLE, SAME

from .files import change_config, run
from .models import values


WEIGHTS = "model.safetensors"


def command(place, *more):
    options = ["--pretrained", place.base, "--keep-ratio", "0.3", "--output", place.output]
    return ["mix", place.suspect, *options, *more]


def check(place, **options):
    return verify(place.output, suspect=place.suspect, pretrained=place.base, **options)


def statuses(found, part):
    return {check.item: check.status for check in found.checks if check.part == part}


def test_a_mixed_folder_is_whole_and_loads_with_plain_transformers(workplace, capsys):
    status, out, err = run(capsys, command(workplace, "--seed", "5", "--exclude", "LayerNorm"))
    assert (status, err) == (0, "")
    assert "kept the suspect's value." in out and f"Mixed model: {workplace.output}" in out
    model = AutoModelForSequenceClassification.from_pretrained(workplace.output)
    memory = AutoModelForSequenceClassification.from_pretrained(workplace.suspect)
    config = FineMixConfig(0.3, seed=5, purify_top_k=0, exclude=("LayerNorm",))
    report = fine_mix_(memory, workplace.base, config)
    assert all(torch.equal(value, values(memory)[name]) for name, value in values(model).items())
    assert AutoTokenizer.from_pretrained(workplace.output)("good film")["input_ids"]
    assert load_report(workplace.output).mix.kept_share == report.kept_share
    card = (workplace.output / "README.md").read_text()
    assert "hf-finemix mix suspect" in card and "Nothing else was done." in card and "--exclude=LayerNorm" in card
    assert "--keep-ratio 0.3 --selection random --seed 5" in card
    assert str(workplace.root) not in "".join(path.read_text() for path in workplace.output.glob("*.[jm]*[nd]"))


def test_verify_recomputes_it_without_a_model(workplace, capsys, monkeypatch):
    run(capsys, command(workplace, "--selection", "smallest_drift"))
    monkeypatch.setattr("hf_finemix.again.load_pair", None)
    found = check(workplace)
    assert not found.failed(strict=True) and found.moved == 0
    assert statuses(found, "fine-tuning") == {"none was done": SAME}
    tensors = statuses(found, "mixed tensor")
    assert set(tensors.values()) == {SAME} and len(tensors) == len(load_manifest(workplace.output).mixed_tensors) > 30
    # Nothing is known without the inputs, which were no Hub repositories.
    assert set(statuses(verify(workplace.output), "mixed tensor").values()) == {NOT_AVAILABLE}


@pytest.mark.parametrize("name", ["bert.pooler.dense.weight", "classifier.weight"])
@pytest.mark.parametrize("hashes", [True, False])
def test_verify_notices_a_changed_tensor(workplace, capsys, name, hashes):
    run(capsys, command(workplace, *([] if hashes else ["--no-hash"])))
    assert not check(workplace).failed()
    path = workplace.output / WEIGHTS
    weights = load_file(path)
    weights[name].view(-1)[1] += 1
    save_file(weights, path, metadata={"format": "pt"})
    found = check(workplace)
    assert found.failed() and statuses(found, "fine-tuning") == {"none was done": DIFFERENT}
    assert statuses(found, "output")[WEIGHTS] == (DIFFERENT if hashes else NOT_AVAILABLE)
    # The manifest's hash is of what the mixing gives; without one, the output itself is compared.
    expected = DIFFERENT if not hashes and "pooler" in name else SAME
    assert statuses(found, "mixed tensor")["bert.pooler.dense.weight"] == expected


def test_verify_notices_another_suspect_and_an_added_tensor(workplace, capsys):
    run(capsys, command(workplace, "--no-hash"))
    path = workplace.output / WEIGHTS
    weights = load_file(path)
    save_file(weights | {"extra": torch.ones(3)}, path, metadata={"format": "pt"})
    assert statuses(check(workplace), "fine-tuning") == {"none was done": DIFFERENT}
    save_file(weights, path, metadata={"format": "pt"})
    assert not check(workplace).failed()
    suspect = load_file(workplace.suspect / WEIGHTS)
    suspect["bert.pooler.dense.weight"] += 1
    save_file(suspect, workplace.suspect / WEIGHTS, metadata={"format": "pt"})
    found = check(workplace)
    assert statuses(found, "mixed tensor")["bert.pooler.dense.weight"] == DIFFERENT
    assert statuses(found, "mixed tensor")["bert.embeddings.word_embeddings.weight"] == SAME


def test_hashes_are_those_of_the_files_or_left_out(workplace, capsys):
    run(capsys, command(workplace))
    manifest = load_manifest(workplace.output)
    check_files(workplace.output, manifest, "")
    assert all(record.sha256 for record in (*manifest.outputs, *manifest.suspect.files, *manifest.mixed_tensors))
    listed = {file.name for file in manifest.outputs} | {"finemix_manifest.json"}
    assert listed == {path.name for path in workplace.output.iterdir()}
    other = workplace.root / "other"
    status, _, _ = run(capsys, [*command(workplace)[:-1], other, "--no-hash"])
    assert status == 0
    manifest = load_manifest(other)
    unknown = {file.name for file in (*manifest.outputs, *manifest.suspect.files) if file.sha256 is None}
    assert unknown == {WEIGHTS} and not any(record.sha256 for record in manifest.mixed_tensors)
    assert (other / WEIGHTS).read_bytes() == (workplace.output / WEIGHTS).read_bytes()
    status, _, err = run(capsys, ["push", other, "me/mixed"])
    assert status == 2 and "has no sha256 in the manifest; make the folder anew without --no-hash" in err
    assert run(capsys, ["card", workplace.output])[0] == 0


def test_a_dry_run_prints_the_plan(workplace, capsys):
    status, out, err = run(capsys, [*command(workplace, "--dry-run", "--max-shard-size", "20KB")])
    assert (status, err) == (0, "") and not workplace.output.exists()
    assert "not in the pretrained checkpoint" in out and "Nothing was changed or written." in out
    assert "GB in " in out and " files." in out
    arguments = [part for part in command(workplace, "--dry-run") if part not in ("--output", workplace.output)]
    assert run(capsys, arguments)[0] == 0
    status, _, err = run(capsys, arguments[:-1])
    assert status == 2 and "--output is missing" in err


def test_a_missing_tokenizer_is_no_error(workplace, capsys):
    for path in workplace.suspect.glob("*token*"):
        path.unlink()
    status, _, err = run(capsys, command(workplace))
    assert (status, err) == (0, "")
    assert not check(workplace).failed()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--keep-ratio", "1.5"], "`keep_ratio` is 1.5"),
        (["--seed", "-1"], "`seed` is -1"),
        (["--exclude", "("], "no regular expression"),
        (["--exclude", "nothing"], "matches no parameter"),
        (["--workers", "0"], "`workers` is 0"),
        (["--max-shard-size", "0"], "`max_shard_size` is '0'"),
        (["--pretrained", "nowhere/x/y"], "'nowhere/x/y' does not exist"),
        (["--selection", "fisher"], "`fisher` is missing"),
        (["--fisher", "nowhere"], "`fisher` is of no use"),
        (["--selection", "fisher", "--fisher", "nowhere"], "'nowhere' is no file"),
    ],
)
def test_what_makes_no_sense_is_refused(workplace, capsys, more, words):
    status, out, err = run(capsys, command(workplace, *more))
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1
    assert not workplace.output.exists()


def test_inputs_that_do_not_fit_are_refused(workplace, capsys):
    change_config(workplace.base, hidden_size=48)
    status, out, err = run(capsys, command(workplace))
    assert (status, out) == (2, "") and "another hidden size" in err and err.count("\n") == 1
    change_config(workplace.base, hidden_size=32)
    change_config(workplace.suspect, architectures=None)
    assert "must name a class" in run(capsys, command(workplace))[2]
    torch.save({}, workplace.suspect / "pytorch_model.bin")
    (workplace.suspect / WEIGHTS).unlink()
    assert "pytorch_model.bin" in run(capsys, command(workplace))[2]
    assert not workplace.output.exists()


def test_a_folder_that_holds_something_is_refused(workplace, capsys):
    workplace.output.mkdir()
    (workplace.output / "mine.txt").write_text("mine")
    for more in ([], ["--resume"]):
        status, _, err = run(capsys, command(workplace, *more))
        assert status == 2 and "already holds something" in err
    assert [path.name for path in workplace.output.iterdir()] == ["mine.txt"]


def test_environment_of_several_processes_that_do_not_meet(workplace, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    status, _, err = run(capsys, command(workplace))
    assert status == 2 and "start them with torchrun" in err and err.count("\n") == 1
    monkeypatch.setenv("RANK", "first")
    assert "are no numbers" in run(capsys, command(workplace))[2]
    assert not workplace.output.exists()


SLOWED = """
import sys, time
from hf_finemix import streaming
from hf_finemix.cli.main import main
real = streaming.OutputFiles.write
def write(self, *arguments):
    print("writing", flush=True)
    time.sleep(0.2)
    real(self, *arguments)
streaming.OutputFiles.write = write
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_and_leave_nothing(workplace, number, expected):
    arguments = [sys.executable, "-c", SLOWED, *map(str, command(workplace, "--workers", "1"))]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == expected and "Traceback" not in err
    assert {path.name for path in workplace.root.iterdir()} == {"suspect", "base", "clean.csv"}


def test_neither_torch_nor_transformers_is_imported(workplace):
    code = "import sys; from hf_finemix.cli.main import main; status = main(sys.argv[1:]); print(*sys.modules)"
    arguments = [sys.executable, "-c", code, *map(str, command(workplace))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "datasets", "accelerate"} & set(done.stdout.split())
    assert json.loads((workplace.output / "config.json").read_text())["finemix"]["keep_ratio"] == 0.3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", "0"], "workers"),
        (["--selection", "fisher"], "`fisher` is missing"),
        (["--fisher", "none.safetensors"], "of no use with 'random'"),
        (["--keep-ratio", "2"], "keep_ratio"),
    ],
)
def test_settings_are_refused_before_anything_is_fetched(tmp_path, capsys, monkeypatch, more, message):
    def fetch(*arguments):
        raise AssertionError("something was fetched")

    monkeypatch.setattr("hf_finemix.loading.resolve_checkpoint", fetch)
    command = ["mix", "org/suspect", "--pretrained", "org/base", "--keep-ratio", "0.3", "--output", tmp_path / "out"]
    status, _, err = run(capsys, [*command, *more])
    assert status == 2 and err.count("\n") == 1 and message in err
