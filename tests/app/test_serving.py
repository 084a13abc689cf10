"""`hf-finemix ui` and the Space, started and stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from huggingface_hub import SpaceCardData
from packaging.requirements import Requirement

from hf_finemix import InputError
from hf_finemix.app import serving
from hf_finemix.app.settings import AppSettings

from ..files import run
from ..hub import LoopbackHub, environment
from ..purified import TOKEN
from .client import Page
from .serving import serve


ROOT = Path(__file__).parents[2]
SPACE = ROOT / "examples" / "space"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host '0.0.0.0' lets others reach the app"),
        (["--port", "70000"], "`--port` is 70000"),
        (["--max-upload-mb", "0"], "`--max-upload-mb` is 0"),
        (["--work-folder", str(ROOT)], "already holds something"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(capsys, arguments, message):
    status, out, err = run(capsys, ["ui", *arguments])
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def test_without_the_extra_the_command_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    status, _, err = run(capsys, ["ui"])
    assert status == 2 and "run `pip install hf-finemix[ui]`" in err and err.count("\n") == 1


def test_a_client_that_came_before_is_no_door_to_the_token(tmp_path, monkeypatch):
    # It was imported by these tests, and would use the token of whoever runs them.
    monkeypatch.setattr(serving.tempfile, "tempdir", None)
    with patch.dict(os.environ), pytest.raises(InputError, match="token for strangers"):
        serving.prepare_environment(AppSettings(tmp_path / "app", hub_only=True))


def test_work_folders_go(tmp_path):
    with serving.work_folder(tmp_path / "new") as folder:
        (folder / "x").write_text("x")
    with serving.work_folder(None) as temporary:
        assert temporary.is_dir()
    assert not temporary.exists() and list(tmp_path.iterdir()) == []


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        yield hub


@pytest.mark.slow
def test_the_command_answers_until_ctrl_c_and_leaves_nothing(tmp_path):
    pytest.importorskip("gradio", reason="gradio is missing (hf-finemix[ui])")
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir(), scratch.mkdir()
    variables = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "HF_HOME": str(home)}
    with serve(scratch, "--suspect", "me/model<b>", **variables) as served:
        page = fetch(served.address)
        assert "me/model" in page and "<b>" not in page
        assert [path.name for path in scratch.iterdir()] and not list(home.iterdir())
    assert served.process.returncode == 130
    assert list(scratch.iterdir()) == [] and list(home.iterdir()) == []
    assert "Traceback" not in "".join(served.said)


def test_the_space_starts(tmp_path, hub):
    pytest.importorskip("gradio", reason="gradio is missing (hf-finemix[ui])")
    port = serving._check_port("127.0.0.1", 0)
    hub.add_user("owner", TOKEN)
    hub.add_model("owner/secret", {"config.json": b"{}", "model.safetensors": b"0"}, private=True)
    # The owner of a Space may have given it a token, and others must not look at models with it.
    variables = environment(hub, tmp_path / "home", HF_TOKEN=TOKEN) | {
        "GRADIO_SERVER_PORT": str(port),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    # Ctrl-C is off in what a shell starts in the background, tests included.
    options = {"cwd": SPACE, "preexec_fn": partial(signal.signal, signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(
        [sys.executable, SPACE / "app.py"], env=os.environ | variables, stdout=subprocess.PIPE, text=True, **options
    )
    try:
        assert str(port) in process.stdout.readline()
        config = json.loads(fetch(f"http://127.0.0.1:{port}/config"))
        infos = [item["props"].get("info") or "" for item in config["components"]]
        assert any("Hub id, or id@revision." in info for info in infos)
        assert not any("folder of this machine" in info or "logged in" in info for info in infos)
        for name, wrong in (("owner/secret", "nor a Hub repository that you can read"), ("/etc", "no Hub id")):
            page = Page(f"http://127.0.0.1:{port}")
            page.press("Scan", Suspect=name, Base=name)
            told = json.dumps(list(page.messages()))
            assert wrong in told and TOKEN not in told
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def fetch(address):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=60) as answer:
        return answer.read().decode()


def test_the_header_of_the_space_is_what_the_hub_takes():
    header = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    card = SpaceCardData(**header)
    assert (card.sdk, card.app_file) == ("gradio", "app.py") and (SPACE / card.app_file).is_file()
    project = (ROOT / "pyproject.toml").read_text()
    wanted = Requirement(re.search(r'^ui = \["(gradio[^"]+)"\]', project, re.MULTILINE)[1])
    assert wanted.specifier.contains(card.sdk_version)
    minimum = re.search(r'requires-python = ">=([\d.]+)"', project)[1]
    assert tuple(map(int, header["python_version"].split("."))) >= tuple(map(int, minimum.split(".")))
    assert len(header["short_description"]) <= 60
    assert (SPACE / "requirements.txt").read_text() == "hf-finemix[ui]\n"
