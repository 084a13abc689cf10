"""What visitors give: names of models and uploads."""

import os
import re
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_finemix import InputError
from hf_finemix.app.inputs import check_model, check_size, columns, empty_cache, take_upload
from hf_finemix.app.settings import AppSettings, check_host

from ..hub import LoopbackHub, connect


PATHS = (
    "/etc",
    "~",
    "~/models",
    "../..",
    ".",
    "./suspect",
    "a/b/c",
    "C:\\models",
    "file:///etc",
)


@pytest.mark.parametrize("text", [*PATHS, "me/model@../../x y", ".hidden/model", "me/.hidden", "me/model@", "a" * 301])
def test_strangers_name_models_of_the_hub_alone(for_strangers, text):
    with pytest.raises(InputError, match=r"no Hub id|no name of a model"):
        check_model(text, "Suspect", for_strangers)


@pytest.mark.parametrize("text", ["me/model", "bert-base-uncased", "me/model@v1.0", "me/model@refs/pr/1"])
def test_hub_ids_are_taken(for_strangers, text):
    assert check_model(f" {text}\n", "Suspect", for_strangers) == text


def test_the_own_user_may_name_a_folder(settings, tiny_place):
    assert check_model(str(tiny_place.suspect), "Suspect", settings) == str(tiny_place.suspect)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_an_empty_field_is_named(settings, text):
    with pytest.raises(InputError, match=r"^Base is empty; give a Hub id or a folder"):
        check_model(text, "Base", settings)


def test_what_is_there_is_not_told_from_what_is_not(for_strangers):
    messages = set()
    for name in (str(for_strangers.uploads), "/no/such/folder"):
        with pytest.raises(InputError) as error:
            check_model(name, "Suspect", for_strangers)
        messages.add(str(error.value).replace(name, "NAME"))
    assert len(messages) == 1


class TestUploads:
    def take(self, path, settings, **options):
        folder = settings.sessions / "one"
        folder.mkdir(exist_ok=True)
        return take_upload(path, "Clean examples", "clean", folder, settings, **options)

    def test_a_copy_gets_a_name_of_ours(self, settings, tiny_place, upload):
        taken = self.take(upload(tiny_place.clean, "..evil; name.CSV"), settings)
        assert taken == settings.sessions / "one" / "clean.csv"
        assert taken.read_bytes() == tiny_place.clean.read_bytes()

    def test_the_next_one_takes_its_place(self, settings, tiny_place, upload):
        self.take(upload(tiny_place.clean), settings)
        taken = self.take(upload(tiny_place.clean, "x.tsv"), settings)
        assert list(taken.parent.iterdir()) == [taken]
        assert self.take(None, settings) is None and not taken.exists()

    @pytest.mark.parametrize("place", ["outside", "session", "link", "missing", "folder"])
    def test_other_files_of_the_machine_are_refused(self, settings, tiny_place, upload, place):
        link = settings.uploads / "link.csv"
        link.symlink_to(tiny_place.clean)
        own = settings.sessions / "secret.csv"
        own.write_text("text,label\n")
        paths = {
            "outside": str(tiny_place.clean),
            "session": str(own),
            "link": str(link),
            "missing": str(settings.uploads / "x.csv"),
            "folder": str(settings.uploads),
        }
        with pytest.raises(InputError, match=r"^Clean examples is no file that was uploaded"):
            self.take(paths[place], settings)

    @pytest.mark.parametrize("value", [{"path": "/etc/passwd"}, ["x"], 3, True])
    def test_what_is_no_path_is_refused(self, settings, value):
        with pytest.raises(InputError, match="no file that was uploaded"):
            self.take(value, settings)

    @pytest.mark.parametrize("name", ["x.pkl", "x.txt", "x.csv.zip", "x"])
    def test_other_types_are_refused(self, settings, tiny_place, upload, name):
        with pytest.raises(InputError, match="is a file of the type"):
            self.take(upload(tiny_place.clean, name), settings)

    def test_large_files_are_refused(self, settings, tiny_place, upload):
        path = upload(tiny_place.clean)
        with open(path, "ab") as file:
            file.truncate(1_000_001)
        with pytest.raises(InputError, match="larger than 1 MB"):
            self.take(path, replace(settings, max_upload_mb=1))


def test_columns():
    assert columns(" premise , hypothesis ") == ["premise", "hypothesis"]
    assert columns(" ") is columns(None) is None


def test_large_models_are_refused_before_they_are_fetched(for_strangers, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_finemix.app.inputs.GB", 1000)
    with LoopbackHub() as hub:
        connect(monkeypatch, hub, tmp_path / "home")
        hub.add_model("me/large", {"config.json": b"{}", "model.safetensors": b"0" * 4000})
        hub.add_model("me/small", {"config.json": b"{}", "model.safetensors": b"0" * 400, "movie.mp4": b"0" * 9000})
        hub.add_model("me/words", {"config.json": b"{}", "vocab.txt": b"0" * 4000})
        for name in ("me/large", "me/words"):
            with pytest.raises(InputError, match=rf"^Suspect '{name}' has 4.0 GB, but .* up to 3 GB"):
                check_size(name, "Suspect", for_strangers)
        checked = check_size("me/small", "Suspect", for_strangers)
        # What is fetched afterwards is what was checked.
        assert re.fullmatch(r"me/small@[0-9a-f]{40}", checked)
        assert not [request for request in hub.requests if "resolve" in request.path]


def test_models_of_unknown_size_are_refused(for_strangers, monkeypatch):
    files = [SimpleNamespace(rfilename="config.json", size=2), SimpleNamespace(rfilename="vocab.txt", size=None)]
    found = SimpleNamespace(siblings=files, sha="0" * 40)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *args, **options: found)
    with pytest.raises(InputError, match=r"^Base 'me/model' has files whose size the Hub does not tell"):
        check_size("me/model", "Base", for_strangers)


def test_the_own_user_is_not_asked_for_sizes(settings):
    assert check_size("me/model", "Base", settings) == "me/model"


def test_the_cache_of_strangers_is_emptied(settings, for_strangers, monkeypatch):
    monkeypatch.setattr("hf_finemix.app.inputs.GB", 10)
    file = for_strangers.hub_cache / "models--me--large" / "blob"
    file.parent.mkdir(parents=True)
    for size, is_left in ((180, True), (181, False)):
        file.write_bytes(b"0" * size)
        empty_cache(settings)
        empty_cache(for_strangers)
        assert file.exists() == is_left


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_others_reach_a_hub_only_app_alone(host):
    with pytest.raises(InputError, match="add --hub-only"):
        check_host(host, hub_only=False)
    check_host(host, hub_only=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_own_machine_is_no_other(host):
    check_host(host, hub_only=False)


@pytest.mark.parametrize("wrong", [{"max_upload_mb": 0}, {"max_model_gb": -1}])
def test_bounds_are_positive(tmp_path, wrong):
    with pytest.raises(InputError, match="--max-"):
        AppSettings(tmp_path, **wrong)


def test_whether_a_folder_is_there_is_not_told(for_strangers, tmp_path, monkeypatch):
    # Where the app works there is none; here there is one, and nothing is said of it.
    (tmp_path / "me" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert check_model("me/model", "Suspect", for_strangers) == "me/model"


class TestTables:
    def take(self, path, settings):
        (settings.sessions / "one").mkdir(exist_ok=True)
        return take_upload(path, "Clean examples", "clean", settings.sessions / "one", settings)

    def test_many_rows_are_for_the_own_user(self, settings, for_strangers, upload, tmp_path):
        files = {
            "a.csv": "text,label\n" + "a,1\n" * 200_001,
            "a.jsonl": '{"text": "a", "label": 1}\n' * 200_001,
            "a.json": "[" + ",".join(['{"a":1}'] * 200_001) + "]",
        }
        for name, content in files.items():
            (tmp_path / name).write_text(content)
            path = upload(tmp_path / name)
            assert self.take(path, settings)
            with pytest.raises(InputError, match=r"^Clean examples has more than .*; give fewer"):
                self.take(path, for_strangers)

    def test_many_rows_of_parquet_are(self, settings, for_strangers, upload, tmp_path):
        pq.write_table(pa.table({"text": ["a"] * 100_001, "label": [0] * 100_001}), tmp_path / "a.parquet")
        path = upload(tmp_path / "a.parquet")
        assert self.take(path, settings)
        with pytest.raises(InputError, match=r"^Clean examples has 100,001 rows; give at most 100,000"):
            self.take(path, for_strangers)

    def test_a_small_file_of_large_values_is(self, for_strangers, upload, tmp_path):
        pq.write_table(pa.table({"text": ["x" * 2000] * 50_000, "label": ["0"] * 50_000}), tmp_path / "a.parquet")
        path = upload(tmp_path / "a.parquet")
        assert os.path.getsize(path) < 100_000
        few = replace(for_strangers, max_upload_mb=1)
        with pytest.raises(InputError, match=r"^Clean examples becomes more than 0.0 GB when it is read"):
            self.take(path, few)
        assert self.take(path, for_strangers)
