"""The Hub of one's own machine takes what is published, and gives it back to whoever verifies."""

import os
import subprocess
import sys

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from hf_finemix import publish, verify

from ..hub import connect
from ..purified import FILES
from .commands import EXAMPLES, commands, header, script_and_arguments


SCRIPT = EXAMPLES / "local_hub.py"


@pytest.fixture
def served(made, monkeypatch, tmp_path):
    """The Hub as a process, with a suspect and its base on it, and this process as its client."""
    models = [f"--model=someone/{name}={made.parent / name}" for name in ("suspect", "base")]
    command = [sys.executable, str(SCRIPT), *models]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert line.startswith("export "), line
        variables = dict(item.split("=", 1) for item in line.split()[1:])
        connect(monkeypatch, variables["HF_ENDPOINT"], tmp_path / "home", variables["HF_TOKEN"])
        yield process
        process.terminate()


def test_what_is_pushed_can_be_verified(served, folder, made):
    published = publish(folder, "me/purified")
    assert set(published.files) == FILES and published.commit_url.startswith("http://127.0.0.1:")
    assert served.stdout.readline().startswith(f"Commit {published.oid[:7]} of me/purified: README.md, config.json")
    found = verify("me/purified", suspect="someone/suspect", pretrained="someone/base")
    assert not found.failed(strict=True), found
    # Once more: what is there stays, and is a commit of its own.
    again = publish(folder, "me/purified")
    assert again.oid != published.oid
    found = verify(f"me/purified@{published.oid}", suspect="someone/suspect", pretrained="someone/base")
    assert found.source.endswith(published.oid) and not found.failed()


def test_what_would_be_loaded_with_the_model_is_removed(served, folder):
    api = HfApi()
    api.create_repo("me/purified")
    api.upload_file(path_or_fileobj=b"a pickle", path_in_repo="pytorch_model.bin", repo_id="me/purified")
    assert publish(folder, "me/purified").removed == ("pytorch_model.bin",)
    assert set(api.list_repo_files("me/purified")) == FILES


def test_nothing_else_is_there(served):
    with pytest.raises(RepositoryNotFoundError):
        HfApi().model_info("google-bert/bert-base-uncased")


def test_the_command_is_given_the_hub_and_its_status_is_kept():
    code = "import os; print(os.environ['HF_ENDPOINT'], os.listdir(os.environ['HF_HOME'])); raise SystemExit(7)"
    done = subprocess.run([sys.executable, str(SCRIPT), sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 7 and done.stdout.startswith("http://127.0.0.1:") and done.stdout.endswith(" []\n")


def test_a_folder_that_is_missing_is_named():
    done = subprocess.run([sys.executable, str(SCRIPT), "--model", "a/b=nowhere"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "--model a/b=nowhere: there is no such folder.\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_the_commands_of_its_header(here, made, number):
    command = script_and_arguments(commands(header(SCRIPT))[number])
    if number == 0:
        (here / "purified").symlink_to(made)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=here,
        env=os.environ | {"PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "of me/purified: README.md" in done.stdout, done.stdout + done.stderr
