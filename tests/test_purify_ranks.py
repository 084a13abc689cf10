"""`purify` in two processes that a launcher started: the result of one."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from hf_finemix import InputError, purify, verify


def launch(arguments, processes):
    """Runs a command line in so many processes, on the CPU."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    command += ["-m", "hf_finemix.cli.main", *arguments]
    settings = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | settings)


def ours(text):
    """The lines that the program said, without those of the launcher."""
    return [line for line in text.splitlines() if line.startswith("hf-finemix")]


@pytest.fixture
def twice(place):
    """The arguments of a purification with one output for each number of processes."""

    def arguments(processes, *more):
        changed = {"output": place.root / f"out-{processes}", "eval_data": place.clean}
        return place.arguments("--batch-size=4", "--trigger=cf", "--target-label=positive", *more, **changed)

    return arguments


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_two_processes_give_the_result_of_one(place, twice):
    # Dropout draws other numbers in each process.
    path = place.suspect / "config.json"
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | dropout))
    for processes in (1, 2):
        done = launch(twice(processes, "--learning-rate=1e-3"), processes)
        assert done.returncode == 0, done.stderr[-3000:]
        # Said once, by the main process.
        assert done.stdout.count("Purified model: ") == 1 and done.stdout.count("flip rate") == 1
    alone, together = (weights(place.root / f"out-{processes}") for processes in (1, 2))
    assert all(torch.allclose(alone[name], together[name], atol=1e-5) for name in alone)
    suspect = weights(place.suspect)
    assert not all(torch.equal(suspect[name], together[name]) for name in suspect)
    reports = [json.loads((place.root / f"out-{count}" / "finemix_report.json").read_text()) for count in (1, 2)]
    assert reports[0]["evaluations"] == reports[1]["evaluations"] and reports[0]["mix"] == reports[1]["mix"]
    assert not verify(place.root / "out-2", suspect=place.suspect, pretrained=place.base).failed()


@pytest.mark.parametrize(
    ("name", "kind"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_models_that_are_cut_up_are_for_trainers(place, monkeypatch, name, kind):
    monkeypatch.setenv(name, "true")
    with pytest.raises(InputError, match=f"was launched with {kind}"):
        purify(place.suspect, place.base, place.clean, output=place.output)
    assert not place.output.exists()


def test_distillation_and_the_choice_of_the_ratio(place, twice):
    texts = place.root / "texts.txt"
    texts.write_text("\n".join(f"the movie was {word} and the plot was {word}" for word in ("good", "bad", "dull")))
    options = ("--distillation-epochs=1", f"--unlabeled-data={texts}", "--keep-ratio=auto")
    done = launch([item for item in twice(2) if not item.startswith("--distillation")] + [*options], 2)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((place.root / "out-2" / "finemix_report.json").read_text())
    assert report["search"]["trials"] and report["distilled"]["texts"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--clean-data=nowhere.csv", "nowhere.csv"),
        ("--batch-size=3", "`batch_size` is 3, which 2 processes cannot share"),
    ],
)
def test_what_is_wrong_for_all_is_said_once(place, twice, more, words):
    done = launch(twice(2, more), 2)
    assert done.returncode != 0 and len(ours(done.stderr)) == 1 and words in ours(done.stderr)[0], done.stderr
    assert not (place.root / "out-2").exists()
