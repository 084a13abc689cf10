"""What the buttons do: scan, plan, purify, publish; one visitor at a time, and nothing left behind."""

import hashlib
import json
import zipfile
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import pytest
from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel

from hf_finemix import InputError
from hf_finemix.app import actions
from hf_finemix.app.archive import make_archive
from hf_finemix.app.markup import escape
from hf_finemix.app.sessions import Purified
from hf_finemix.app.work import Cancelled
from hf_finemix.progress import Step

from ..files import change_config
from ..hub import LoopbackHub, connect
from ..models import make
from ..purified import TOKEN
from .test_markup import HOSTILE, Reader


@pytest.fixture
def purified(session, form, settings):
    """A visitor whose model was purified; and what the page shows."""
    filled = replace(form, evaluation=form.clean, trigger="cf", target="positive")
    return session, actions.start_purification(session, filled, settings).result()


@pytest.fixture
def handed(session, folder, settings):
    """A visitor who has a purified model, without waiting for it."""
    suspect = SimpleNamespace(folder=folder)
    session.purified = Purified(folder, suspect, 32)
    session.download = make_archive(folder, settings.archives)
    return session


def files_of(settings):
    return {path for path in settings.work_folder.rglob("*") if path.is_file()}


def test_a_scan_shows_tokens_layers_and_what_it_means(session, form, settings):
    shown = actions.start_scan(session, form, settings).result()
    assert "Finding: " in shown and "Tokens whose embedding moved suspiciously far" in shown
    assert "What inserting a token does to 12 clean texts" in shown and "layer 0 attention" in shown


def test_a_scan_needs_no_examples(session, form, settings):
    shown = actions.start_scan(session, replace(form, clean=None, text_columns="text"), settings).result()
    assert "Finding: " in shown and "inserting" not in shown.lower()


def test_a_plan_changes_nothing(session, form, settings):
    before = files_of(settings)
    shown = actions.start_plan(session, form, settings).result()
    assert "has a pretrained counterpart" in shown and "a share of 0.1" in shown
    assert "Fine-tuning: 12 labelled examples, 1 passes." in shown
    assert files_of(settings) - before == {session.folder / "clean.csv"} and session.purified is None


def test_a_purification_is_that_of_the_command(purified, tiny_place, capsys):
    from ..files import run

    session, (figures, report) = purified
    assert "Suspect" in figures and "Purified" in figures and "Trigger: cf, aiming at label 1." in figures
    assert Reader(report).attributes["sandbox"] == "allow-scripts" if "<iframe" in report else "card" in report
    AutoModelForSequenceClassification.from_pretrained(session.purified.folder)
    output = session.folder / "by-command"
    options = ["--eval-data", tiny_place.clean, "--trigger", "cf", "--target-label", "positive"]
    status, _, said = run(capsys, tiny_place.arguments(*map(str, options), output=output))
    assert status == 0, said
    assert (output / "model.safetensors").read_bytes() == (session.purified.folder / "model.safetensors").read_bytes()


def test_the_archive_is_what_the_manifest_lists(folder, settings):
    (folder / "stray.bin").write_bytes(b"stray")
    with zipfile.ZipFile(make_archive(folder, settings.archives)) as archive:
        manifest = json.loads(archive.read("purified/finemix_manifest.json"))
        digests = {f"purified/{file['name']}": file["sha256"] for file in manifest["outputs"]}
        assert set(archive.namelist()) == {*digests, "purified/finemix_manifest.json"}
        for name, digest in digests.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest, name


def test_the_next_purification_takes_the_place_of_the_last(handed, form, settings):
    first, archive = handed.purified.folder, handed.download
    actions.start_purification(handed, form, settings).result()
    assert handed.purified.folder != first and not first.exists() and not archive.parent.exists()


@pytest.mark.usefixtures("purified")
def test_nothing_is_written_elsewhere_and_all_of_it_goes(sessions, settings, tmp_path, form):
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.is_relative_to(settings.work_folder) for path in written)
    upload = form.clean
    sessions.end("somebody")
    assert files_of(settings) == {path for path in files_of(settings) if str(path) == upload}
    assert list(settings.sessions.iterdir()) == [] == list(settings.archives.iterdir())


def test_a_cancelled_purification_leaves_no_model(session, form, settings):
    work = actions.start_purification(session, replace(form, epochs=50), settings)
    seen = set()
    while work.is_running:
        seen.add(work.latest.name)
        if work.latest.name == "fine-tuning":
            work.cancel()
    with pytest.raises(Cancelled):
        work.result()
    assert "fine-tuning" in seen and not session.is_working and session.purified is session.download is None
    assert {path.name for path in session.folder.rglob("*") if path.is_file()} == {"clean.csv"}
    assert session.turn.acquire(blocking=False)
    session.turn.release()


def test_a_second_piece_of_work_is_refused(session, form, settings):
    session.turn.acquire()
    work = actions.start_scan(session, form, settings)
    for begin in (actions.start_scan, actions.start_plan, actions.start_purification):
        with pytest.raises(InputError, match="already"):
            begin(session, form, settings)
    while work.latest == Step("starting", 0, 0):
        pass
    assert "somebody else" in work.latest.name
    work.cancel()
    with pytest.raises(Cancelled):
        work.result()
    session.turn.release()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clean": None}, "Clean examples are missing"),
        ({"suspect": ""}, "Suspect is empty"),
        ({"suspect": ["x"]}, "Suspect is no text"),
        ({"pretrained": "/no/such/folder"}, "does not exist"),
        ({"keep_ratio": 1.5}, "Share to keep is 1.5, but must be a number from 0 to 1"),
        ({"keep_ratio": float("nan")}, "Share to keep is empty or no number"),
        ({"epochs": 0}, "Passes of fine-tuning is 0"),
        ({"epochs": 10**9}, "Passes of fine-tuning is 1e"),
        ({"epochs": None}, "Passes of fine-tuning is empty"),
        ({"epochs": "2"}, "no number"),
        ({"seed": -1}, "Seed is -1"),
        ({"seed": 0.5}, "Seed is 0.5"),
        ({"label_column": "nonsense"}, "no column 'nonsense'"),
        ({"trigger": "cf"}, "Trigger needs evaluation data"),
        ({"trigger": "cf", "evaluation": True}, "needs the target label"),
        ({"trigger": "cf", "evaluation": True, "target": "x"}, "Target label"),
        ({"trigger": "cf", "evaluation": True, "target": "1", "place": "middle"}, "Place of the trigger"),
    ],
)
def test_wrong_fields_are_named(session, form, settings, wrong, message):
    if wrong.get("evaluation"):
        wrong = wrong | {"evaluation": form.clean}
    with pytest.raises(InputError, match=message):
        actions.start_purification(session, replace(form, **wrong), settings).result()
    assert session.purified is None


def test_models_that_answer_are_refused_in_one_line(session, form, settings, tmp_path, tiny_tokenizer):
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 20, "bos_token_id": 0, "eos_token_id": 0}
    make(GPT2LMHeadModel, GPT2Config(vocab_size=len(tiny_tokenizer), **sizes)).save_pretrained(tmp_path / "gpt2")
    tiny_tokenizer.save_pretrained(tmp_path / "gpt2")
    with pytest.raises(InputError, match=r"language model; this app is for whole classifiers"):
        actions.start_plan(session, replace(form, suspect=str(tmp_path / "gpt2")), settings).result()


def test_labels_and_tokens_of_strangers_stay_text(session, form, settings, place):
    text = "".join(HOSTILE[:4])
    change_config(place.suspect, id2label={"0": "negative", "1": text}, label2id={"negative": 0, text: 1})
    for folder in (place.suspect, place.base):
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        tokenizer["model"]["vocab"] = {text if name == "cf" else name: number for name, number in vocabulary.items()}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    table = place.clean.read_text().replace("positive", "1").replace("negative", "0")
    with open(form.clean, "w") as file:
        file.write(table)
    models = {"suspect": str(place.suspect), "pretrained": str(place.base)}
    hostile = replace(form, **models, evaluation=form.clean, trigger=text, target="1")
    shown = [actions.start_scan(session, hostile, settings).result()]
    shown.append(actions.start_plan(session, hostile, settings).result())
    shown.append(actions.start_purification(session, hostile, settings).result()[0])
    assert any(text in unescape(item) for item in shown) and any(escape(text) in item for item in shown)
    for item in shown:
        assert not {"script", "img", "b", "iframe"} & set(Reader(item).tags)
        assert not [name for name in Reader(item).attributes if name.startswith("on")]


class TestPublishing:
    @pytest.fixture
    def hub(self, monkeypatch, tmp_path):
        with LoopbackHub() as hub:
            hub.add_user("me", TOKEN)
            connect(monkeypatch, hub, tmp_path / "home")
            yield hub

    def test_what_the_manifest_lists_with_the_token_of_the_field(self, handed, settings, hub):
        shown = actions.start_push(handed, "me/purified", True, f" {TOKEN} ", settings).result()
        assert "to me/purified." in shown and TOKEN not in shown
        listed = {file["name"] for file in json.loads(hub.files("me/purified")["finemix_manifest.json"])["outputs"]}
        assert hub.files("me/purified").keys() == listed | {"finemix_manifest.json", ".gitattributes"}
        assert hub.store.repositories["me/purified"].private
        assert not any(TOKEN.encode() in path.read_bytes() for path in files_of(settings))

    def test_strangers_need_a_token_of_their_own(self, handed, for_strangers, hub, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        with pytest.raises(InputError, match="Token is empty"):
            actions.start_push(handed, "me/purified", True, " ", for_strangers)
        assert not hub.store.repositories

    def test_a_refused_token_is_not_said(self, handed, settings, hub):
        wrong = "hf_" + "Zz9" * 12
        with pytest.raises(Exception) as error:
            actions.start_push(handed, "me/purified", True, wrong, settings).result()
        assert wrong not in str(error.value)

    def test_there_has_to_be_a_model(self, session, settings):
        with pytest.raises(InputError, match="There is no purified model yet"):
            actions.start_push(session, "me/purified", True, TOKEN, settings)
