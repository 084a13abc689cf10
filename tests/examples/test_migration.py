"""The page about the way from Trainer shows the two scripts as they are."""

import json
import re
import subprocess

from hf_finemix.manifest import load_manifest

from .commands import EXAMPLES


FOLDER = EXAMPLES / "migration"
PAGE = EXAMPLES.parent / "docs" / "migration.md"


def blocks(language):
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))


def test_the_script_on_the_page_is_the_file():
    assert blocks("python")[0] == (FOLDER / "before.py").read_text(encoding="utf-8")


def test_the_difference_on_the_page_is_that_of_the_files():
    names = ["before.py", "after.py"]
    labels = [f"--label={name}" for name in names]
    found = subprocess.run(["diff", "-u", *labels, *names], cwd=FOLDER, capture_output=True, text=True)
    assert found.returncode == 1 and blocks("diff") == [found.stdout]


def test_a_run_that_is_resumed_goes_on_and_leaves_a_card(run, here):
    arguments = ["--train=clean.csv", "--test=test.csv", "--model=suspect", "--pretrained=base", "--output=out"]
    status, output = run(here, "examples/migration/after.py", *arguments)
    assert status == 0, output
    for path in (here / "out").glob("*.*"):
        path.unlink()
    status, output = run(here, "examples/migration/after.py", *arguments, "--resume")
    assert status == 0, output
    assert json.loads((here / "out" / "config.json").read_text())["finemix"]["keep_ratio"] == 0.3
    assert {"README.md", "model.safetensors"} <= {file.name for file in load_manifest(here / "out").outputs}
    assert not list((here / "out").rglob("training_args.bin"))
