"""The command line: what it prints, its exit statuses, and that bad input leaves nothing behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from hf_finemix.recipes import DEFAULT_CONFIG, DEFAULT_DISTILLATION, DEFAULT_RECIPE

from .files import change_config, run, write_csv


def test_purify_writes_the_promised_files(workplace, capsys):
    status, out, err = run(capsys, workplace.arguments())
    assert status == 0, err
    assert str(workplace.output) in out
    names = {path.name for path in workplace.output.iterdir()}
    promised = {"config.json", "model.safetensors", "README.md", "finemix_report.json", "finemix_manifest.json"}
    assert promised | {"tokenizer.json", "tokenizer_config.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def test_purify_measures_before_and_after(workplace, capsys):
    more = ["--eval-data", str(workplace.clean), "--trigger", "cf", "--target-label", "positive"]
    status, out, err = run(capsys, workplace.arguments(*more))
    assert status == 0, err
    assert "suspect" in out and "purified" in out and "ASR" in out
    report = json.loads((workplace.output / "finemix_report.json").read_text())
    assert report["evaluations"]["suspect"]["triggers"][0]["asr"]["n"] == 6


def test_dry_run_prints_the_plan_and_writes_nothing(workplace, capsys):
    before = sorted(workplace.root.rglob("*"))
    status, out, _ = run(capsys, workplace.arguments("--dry-run"))
    assert status == 0
    assert "mixed" in out and "kept" in out and "12 examples" in out
    assert sorted(workplace.root.rglob("*")) == before


def test_dry_run_names_what_is_kept_and_reset(workplace, capsys):
    status, out, _ = run(capsys, workplace.arguments("--dry-run", purify_top_k=3, selection="smallest_drift"))
    assert status == 0
    planned = re.search(r"reset: 3, the most suspicious first: (.+)", out)[1].split()
    assert f"share of {DEFAULT_CONFIG.keep_ratio}" in out and "smallest_drift" in out and "1 epochs" in out
    assert run(capsys, workplace.arguments(purify_top_k=3))[0] == 0
    report = json.loads((workplace.output / "finemix_report.json").read_text())
    assert planned == [token["token"] for token in report["purify"]["tokens"]]


@pytest.mark.parametrize("wrong", [{"frequencies": "nowhere.txt"}, {"max_length": "1"}, {"batch_size": "0"}])
def test_dry_run_refuses_what_the_job_would_refuse(workplace, capsys, wrong):
    dry = run(capsys, workplace.arguments("--dry-run", **wrong))
    assert dry[0] == 2 and dry == run(capsys, workplace.arguments(**wrong))


def test_help_names_the_defaults_of_the_recipe(capsys):
    text = " ".join(run(capsys, ["purify", "--help"])[1].split())
    text = text.split("options:")[1]
    settings = [(DEFAULT_RECIPE, "", name) for name in ("epochs", "learning_rate", "batch_size", "max_length")]
    settings += [(DEFAULT_DISTILLATION, "distillation_", name) for name in ("epochs", "learning_rate")]
    settings += [(DEFAULT_CONFIG, "", "keep_ratio")]
    for defaults, prefix, name in settings:
        option = f"--{prefix}{name}".replace("_", "-")
        shown = re.search(rf"{option} \w+ [^()]+\(default: ([^);]+)[;)]", text)
        assert float(shown[1]) == getattr(defaults, name), option


def test_dry_run_needs_no_output(workplace, capsys):
    arguments = [item for item in workplace.arguments("--dry-run") if not item.startswith("--output")]
    assert run(capsys, arguments)[0] == 0


def test_same_seed_same_bytes(workplace, capsys):
    run(capsys, workplace.arguments(output=workplace.root / "a"))
    run(capsys, workplace.arguments(output=workplace.root / "b"))
    first = (workplace.root / "a" / "model.safetensors").read_bytes()
    assert first == (workplace.root / "b" / "model.safetensors").read_bytes()


def test_label_ids_and_names_are_the_same(workplace, capsys):
    text = workplace.clean.read_text().replace("positive", "1").replace("negative", "0")
    ids = workplace.root / "ids.csv"
    ids.write_text(text)
    run(capsys, workplace.arguments(output=workplace.root / "a"))
    run(capsys, workplace.arguments(clean_data=ids, output=workplace.root / "b"))
    first = (workplace.root / "a" / "model.safetensors").read_bytes()
    assert first == (workplace.root / "b" / "model.safetensors").read_bytes()


def test_sentence_pairs(workplace, capsys):
    rows = [("the movie is good", "it is fun", 1), ("the movie is bad", "it is fun", 0)] * 4
    pairs = write_csv(workplace.root / "pairs.csv", ["premise", "hypothesis", "label"], rows)
    columns = ["--text-column", "premise", "--text-column", "hypothesis"]
    status, _, err = run(capsys, workplace.arguments(*columns, clean_data=pairs))
    assert status == 0, err


def test_scan_as_json(workplace, capsys):
    status, out, _ = run(capsys, ["scan", workplace.suspect, "--pretrained", workplace.base, "--json", "--top", "3"])
    tokens = json.loads(out)["tokens"]
    assert status == 0
    assert [token["rank"] for token in tokens] == [1, 2, 3]
    assert {"rank", "token", "id", "score"} <= set(tokens[0])
    assert tokens[0]["score"] >= tokens[1]["score"]


def test_scan_fails_on_a_finding(workplace, capsys):
    weights = load_file(workplace.suspect / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"][-7] += 5
    save_file(weights, workplace.suspect / "model.safetensors", metadata={"format": "pt"})
    command = ["scan", workplace.suspect, "--pretrained", workplace.base]
    assert run(capsys, command)[0] == 0
    assert run(capsys, [*command, "--fail-on", "high"])[0] == 1


def test_scan_refuses_to_compare_a_model_with_itself(workplace, capsys):
    status, _, err = run(capsys, ["scan", workplace.suspect, "--pretrained", f"{workplace.suspect}/"])
    assert status == 2 and "both" in err


def test_scan_of_an_untouched_model_is_low(workplace, capsys):
    command = ["scan", workplace.suspect, "--pretrained", workplace.base, "--fail-on", "medium"]
    assert run(capsys, command)[0] == 0


def test_evaluate_as_json(workplace, capsys):
    command = ["evaluate", workplace.suspect, "--data", workplace.clean, "--trigger", "cf", "--target-label", "1"]
    status, out, _ = run(capsys, [*command, "--json"])
    figures = json.loads(out)["model"]
    assert status == 0
    assert figures["accuracy"]["n"] == 12
    assert figures["triggers"][0]["asr"]["n"] == 6


def test_evaluate_as_a_table_names_its_unit(workplace, capsys):
    status, out, _ = run(capsys, ["evaluate", workplace.suspect, "--data", workplace.clean])
    assert status == 0
    assert "ACC" in out and "In percent" in out


@pytest.mark.parametrize("size", ["0", "-3"])
def test_evaluate_refuses_a_batch_of_nothing(workplace, capsys, size):
    status, out, err = run(capsys, ["evaluate", workplace.suspect, "--data", workplace.clean, "--batch-size", size])
    assert (status, out) == (2, "") and "batch_size" in err


def test_evaluate_refuses_a_regression_model(workplace, capsys):
    change_config(workplace.suspect, problem_type="regression")
    status, _, err = run(capsys, ["evaluate", workplace.suspect, "--data", workplace.clean])
    assert status == 2 and "MODEL" in err and "regression" in err


def test_evaluate_looks_up_all_models_first(workplace, capsys, monkeypatch):
    monkeypatch.setattr("hf_finemix.evaluation.evaluate_model", None)
    command = ["evaluate", workplace.suspect, "--data", workplace.clean, "--clean-model", workplace.root / "nowhere"]
    status, _, err = run(capsys, command)
    assert status == 2 and "--clean-model" in err


def test_scan_refuses_weights_that_json_cannot_hold(workplace, capsys):
    weights = load_file(workplace.suspect / "model.safetensors")
    weights["bert.encoder.layer.0.intermediate.dense.weight"][0, 0] = float("inf")
    save_file(weights, workplace.suspect / "model.safetensors", metadata={"format": "pt"})
    status, out, err = run(capsys, ["scan", workplace.suspect, "--pretrained", workplace.base, "--json"])
    assert (status, out) == (2, "") and "infinity" in err


def test_strings_of_a_suspect_cannot_steer_the_terminal(workplace, capsys):
    tokenizer = json.loads((workplace.suspect / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["\x1b[31mcf"] = vocabulary.pop("cf")
    for folder in (workplace.suspect, workplace.base):
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    scan = ["scan", workplace.suspect, "--pretrained", workplace.base, "--top", "64"]
    printed = [run(capsys, scan)[1], run(capsys, workplace.arguments("--dry-run"))[1]]
    change_config(workplace.suspect, model_type="\x1b[31mbert")
    printed.append(run(capsys, scan)[2])
    assert "\\x1b[31mcf" in printed[0] and "x1b" in printed[2]
    assert not any("\x1b" in text for text in printed)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_the_middle_leaves_nothing(workplace, number, status):
    before = sorted(workplace.root.rglob("*"))
    arguments = workplace.arguments(epochs="100000")
    command = [sys.executable, "-m", "hf_finemix.cli.main", *arguments]
    scratch = workplace.root.parent / f"{workplace.root.name}-scratch"
    scratch.mkdir()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(scratch)})
    try:
        # Training has begun when its scratch folder is there.
        deadline = time.monotonic() + 120
        while not list(scratch.glob("finemix-*")) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert sorted(workplace.root.rglob("*")) == before
    assert not list(scratch.glob("finemix-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_keep_the_folders_from_going(workplace, capsys, monkeypatch, number):
    status = {signal.SIGINT: 130, signal.SIGTERM: 143}[number]

    def stopped(*args, **kwargs):
        signal.raise_signal(number)

    def remove(folder, *args, **kwargs):
        if Path(folder).parent == workplace.root / "new":
            removed.append(folder)
            signal.raise_signal(number)
        rmtree(folder, *args, **kwargs)

    removed, rmtree = [], shutil.rmtree
    monkeypatch.setattr("hf_finemix.cli.main._stopped_at", float("-inf"))
    monkeypatch.setattr("hf_finemix.job_output.write_evidence", stopped)
    monkeypatch.setattr("hf_finemix.output.shutil.rmtree", remove)
    before = sorted(workplace.root.rglob("*"))
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert run(capsys, workplace.arguments(output=workplace.root / "new" / "out"))[0] == status
    assert sorted(workplace.root.rglob("*")) == before
    assert len(removed) == 1
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_makes_no_noise(workplace, unbuffered):
    command = [sys.executable, "-m", "hf_finemix.cli.main", "scan", workplace.suspect, "--pretrained", workplace.base]
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


def test_a_log_has_no_progress_bar(workplace):
    command = [sys.executable, "-m", "hf_finemix.cli.main", *workplace.arguments(eval_data=workplace.clean)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_has_a_progress_bar(workplace):
    import fcntl
    import pty
    import struct
    import termios

    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "hf_finemix.cli.main", *workplace.arguments(eval_data=workplace.clean)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=terminal, text=True)
    shown = os.read(reader, 1 << 16).decode()
    os.close(terminal)
    os.close(reader)
    assert "fine-tuning" in shown and "clean" in shown and "12/12" in shown
    assert "12/12" not in result.stdout


PROGRAM = """
import atexit, sys
import torch.distributed
from hf_finemix.cli.main import main

meeting, *sys.argv[1:] = sys.argv[1:]
torch.distributed.init_process_group("gloo", "file://" + meeting, rank=0, world_size=1)
atexit.register(print, "tidied up")
main()
print("still here")
"""


@pytest.mark.parametrize("wrong", [False, True])
def test_a_process_that_met_others_ends_without_taking_python_down(workplace, tmp_path, wrong):
    more = ["--keep-ratio=2"] if wrong else []
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "meeting"), *workplace.arguments("--dry-run", *more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    # A thread of gloo that still holds a tensor would abort it, or make it wait forever.
    assert done.returncode == (2 if wrong else 0) and "still here" not in done.stdout
    assert "tidied up" in done.stdout and ("Nothing was changed or written." in done.stdout) != wrong


def test_help_loads_no_heavy_library():
    # A timed test would fail on a busy machine; what takes the time is the import of these.
    loaded = _modules_after("import hf_finemix.cli.main as m; m.build_parser()")
    assert not {"torch", "transformers", "datasets", "numpy"} & set(loaded)


def _modules_after(code):
    listing = f"{code}; import sys; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True).stdout.split()


def test_console_script_prints_its_version():
    script = shutil.which("hf-finemix", path=Path(sys.executable).parent)
    result = subprocess.run([script, "--version"], check=True, capture_output=True, text=True)
    assert result.stdout.startswith("hf-finemix ")
