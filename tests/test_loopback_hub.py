"""The Hub of the tests behaves like the real one as far as its client can tell; how that client takes failures."""

import os
import re

import pytest
import torch
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    constants,
    hf_hub_download,
    snapshot_download,
    upload_folder,
    whoami,
)
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session, httpx
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from .hub import LoopbackHub, connect


WEIGHTS = bytes(range(256)) * 1000
CARD = b"---\nlicense: mit\nbase_model: org/base\n---\n# A model\n"


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_user("me", "hf_me", orgs=("lab",))
        hub.add_user("me", "hf_reader", role="read")
        hub.add_user("you", "hf_you")
        yield hub


@pytest.fixture
def waits(hub, monkeypatch, tmp_path):
    return connect(monkeypatch, hub, tmp_path / "home", token="hf_me")


@pytest.fixture
def api(waits):
    return HfApi()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_bytes(CARD)
    (folder / "config.json").write_bytes(b'{"a": 1}')
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "sub" / "plot.png").write_bytes(b"\x89PNG" + bytes(100))
    return folder


def read(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def paths(hub, method, pattern):
    return [r.path for r in hub.requests if r.method == method and re.search(pattern, r.path)]


def commit(api, repo_id="me/model", **arguments):
    """Commits a regular and an LFS file that differ from call to call of the same size."""
    operations = [
        CommitOperationAdd("config.json", b"{}"),
        CommitOperationAdd("model.safetensors", os.urandom(300_000)),
    ]
    return api.create_commit(repo_id, operations, commit_message="A commit", **arguments)


class TestRepositories:
    def test_create(self, hub, api):
        url = api.create_repo("me/model")
        assert (url, url.repo_id) == (f"{hub.endpoint}/me/model", "me/model")
        info = api.model_info("me/model")
        assert not info.private and [file.rfilename for file in info.siblings] == [".gitattributes"]
        assert [c.title for c in hub.commits("me/model")] == ["initial commit"]
        assert info.sha == hub.commits("me/model")[0].id and re.fullmatch("[0-9a-f]{40}", info.sha)
        with pytest.raises(HfHubHTTPError) as error:
            api.create_repo("me/model")
        assert error.value.response.status_code == 409
        assert api.create_repo("me/model", exist_ok=True).repo_id == "me/model"

    def test_name_without_namespace_is_the_users(self, api):
        assert api.create_repo("model").repo_id == "me/model"

    def test_private_is_hidden_from_strangers(self, api):
        api.create_repo("lab/model", private=True)
        assert api.model_info("lab/model").private
        for token, status in (("hf_you", 404), (False, 401)):
            with pytest.raises(RepositoryNotFoundError) as error:
                api.model_info("lab/model", token=token)
            assert error.value.response.status_code == status
            with pytest.raises(RepositoryNotFoundError):
                hf_hub_download("lab/model", ".gitattributes", token=token)

    def test_public_needs_no_token(self, hub, monkeypatch, tmp_path):
        hub.add_model("someone/model", {"config.json": b"{}"})
        connect(monkeypatch, hub, tmp_path / "home")
        path = hf_hub_download("someone/model", "config.json")
        assert path.startswith(str(tmp_path / "home" / "hub"))

    def test_branches(self, hub, api):
        api.create_repo("me/model")
        first = hub.commits("me/model")[0].id
        api.create_branch("me/model", branch="dev")
        commit(api, revision="dev")
        assert "config.json" in hub.files("me/model", "dev") and "config.json" not in hub.files("me/model")
        assert [c.title for c in api.list_repo_commits("me/model", revision="dev")] == ["A commit", "initial commit"]
        heads = {branch.name: branch.target_commit for branch in api.list_repo_refs("me/model").branches}
        assert heads == {"main": first, "dev": hub.commits("me/model", "dev")[0].id}
        api.create_branch("me/model", branch="dev", exist_ok=True)
        with pytest.raises(HfHubHTTPError, match="409"):
            api.create_branch("me/model", branch="dev")

    def test_same_actions_give_same_commits(self):
        hashes = []
        for _ in range(2):
            with LoopbackHub() as hub:
                hashes.append([hub.add_model("a/b", {"x": b"1"}), hub.add_model("a/b", {"x": b"1"})])
        assert hashes[0] == hashes[1] and hashes[0][0] != hashes[0][1]


class TestUploads:
    def test_folder_in_one_commit(self, hub, api, folder, tmp_path):
        api.create_repo("me/model")
        info = upload_folder(repo_id="me/model", folder_path=folder, commit_message="All of it")
        newest, first = hub.commits("me/model")
        assert (newest.id, newest.title, newest.parent) == (info.oid, "All of it", first.id)
        assert sorted(newest.changed) == sorted(read(folder)) and newest.deleted == ()
        entries = {entry.path: entry for entry in api.list_repo_tree("me/model", recursive=True)}
        assert [path for path, entry in entries.items() if getattr(entry, "lfs", None)] == [
            "model.safetensors",
            "sub/plot.png",
        ]
        assert entries["model.safetensors"].size == entries["model.safetensors"].lfs.size == len(WEIGHTS)
        blobs = {file.rfilename: file for file in api.model_info("me/model", files_metadata=True).siblings}
        assert blobs["model.safetensors"].lfs == entries["model.safetensors"].lfs
        assert blobs["config.json"].blob_id == entries["config.json"].blob_id
        assert "sub" in entries and {e.path for e in api.list_repo_tree("me/model", "sub")} == {"sub/plot.png"}
        api.snapshot_download("me/model", local_dir=tmp_path / "copy", ignore_patterns=".gitattributes")
        copy = {path: data for path, data in read(tmp_path / "copy").items() if not path.startswith(".cache/")}
        assert copy == read(folder)

    def test_unchanged_files_are_not_sent_again(self, hub, api, folder):
        api.create_repo("me/model")
        first = api.upload_folder(repo_id="me/model", folder_path=folder)
        again = api.upload_folder(repo_id="me/model", folder_path=folder)
        assert again.oid == first.oid and len(paths(hub, "POST", "/commit/")) == 1
        (folder / "config.json").write_bytes(b"{}")
        api.upload_folder(repo_id="me/model", folder_path=folder)
        assert hub.commits("me/model")[0].changed == ("config.json",)
        assert len(paths(hub, "PUT", "/lfs/")) == 2

    def test_delete(self, hub, api):
        hub.add_model("me/model", {"a.txt": b"a", "b/c.txt": b"c", "b/d.txt": b"d"})
        operations = [CommitOperationDelete("a.txt"), CommitOperationDelete("b/")]
        api.create_commit("me/model", operations, commit_message="Away")
        assert list(hub.files("me/model")) == [".gitattributes"]
        assert hub.commits("me/model")[0].deleted == ("a.txt", "b/c.txt", "b/d.txt")
        with pytest.raises(RemoteEntryNotFoundError):
            api.create_commit("me/model", [CommitOperationDelete("a.txt")], commit_message="Away")

    def test_pull_request(self, hub, api):
        head = hub.add_model("someone/model", {"config.json": b"old"})
        info = commit(api, "someone/model", create_pr=True)
        assert (info.pr_revision, info.pr_num) == ("refs/pr/1", 1)
        assert hub.commits("someone/model")[0].id == head
        assert hub.files("someone/model", "refs/pr/1")["config.json"] == b"{}"
        assert hub.commits("someone/model", "refs/pr/1")[0].id == info.oid
        path = hf_hub_download("someone/model", "config.json", revision="refs/pr/1")
        assert f"/{info.oid}/" in path
        (pull_request,) = api.list_repo_refs("someone/model", include_pull_requests=True).pull_requests
        assert (pull_request.ref, pull_request.target_commit) == ("refs/pr/1", info.oid)
        assert commit(api, "someone/model", create_pr=True, parent_commit=head).pr_num == 2

    def test_parent_commit(self, hub, api):
        api.create_repo("me/model")
        old = hub.commits("me/model")[0].id
        head = commit(api, parent_commit=old).oid
        with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
            commit(api, parent_commit=old)
        assert error.value.response.status_code == 412
        assert hub.commits("me/model")[0].id == head

    def test_unknown_branch(self, api):
        api.create_repo("me/model")
        with pytest.raises(RevisionNotFoundError):
            commit(api, revision="dev")

    def test_object_store_takes_only_what_was_announced(self, hub, api):
        hub.add_model("me/model", {})
        oid = "a" * 64
        url = f"{hub.endpoint}/lfs/me/model/{oid}"
        assert get_session().put(url, content=b"abc").status_code == 403
        batch = {"operation": "upload", "objects": [{"oid": oid, "size": 3}]}
        address, headers = f"{hub.endpoint}/me/model.git/info/lfs/objects/batch", {"Authorization": "Bearer hf_me"}
        assert get_session().post(address, json=batch, headers=headers).json()["objects"][0]["actions"]
        assert get_session().put(url, content=b"abc").status_code == 400

    def test_cards_are_validated(self, api):
        ModelCard(CARD.decode()).validate()
        for card, message in (
            (b"# A", "missing"),
            (b"---\na: [b\n---\n", "YAML"),
            (b"---\nbase_model: /a/b\n---\n", "/a/b"),
        ):
            with pytest.raises(ValueError, match=message):
                api.create_commit("me/model", [CommitOperationAdd("README.md", card)], commit_message="A card")

    def test_every_byte_is_on_record(self, hub, api):
        api.create_repo("me/model")
        content = [CommitOperationAdd("a.txt", b"x" * 1000 + b"in the commit"), CommitOperationAdd("a.bin", b"in LFS")]
        api.create_commit("me/model", content, commit_message="in the message")
        received = b"".join(hub.received)
        for secret in (b"in the commit", b"in LFS", b"in the message", b"hf_hub/"):
            assert secret in received
        assert b"hf_me" not in received


class TestDownloads:
    def test_etags_and_revisions(self, hub, api):
        old = hub.add_model("someone/model", {"config.json": b"old", "model.safetensors": WEIGHTS})
        new = hub.add_model("someone/model", {"config.json": b"new"})
        for revision, content in (
            (None, b"new"),
            ("main", b"new"),
            (old, b"old"),
            (api.resolve_revision("someone/model"), b"new"),
        ):
            with open(hf_hub_download("someone/model", "config.json", revision=revision), "rb") as file:
                assert file.read() == content
        metadata = api.get_hf_file_metadata(url=f"{hub.endpoint}/someone/model/resolve/main/model.safetensors")
        assert (metadata.commit_hash, metadata.size) == (new, len(WEIGHTS))
        tree = {entry.path: entry for entry in api.list_repo_tree("someone/model")}
        assert metadata.etag == tree["model.safetensors"].lfs.sha256
        metadata = api.get_hf_file_metadata(url=f"{hub.endpoint}/someone/model/resolve/main/config.json")
        assert metadata.etag == tree["config.json"].blob_id == "3e5126c4e761fd09582fc517918a1601b218dff0"

    def test_what_is_missing(self, hub, api):
        hub.add_model("someone/model", {"config.json": b"{}"})
        with pytest.raises(RemoteEntryNotFoundError):
            hf_hub_download("someone/model", "model.safetensors")
        with pytest.raises(RevisionNotFoundError):
            hf_hub_download("someone/model", "config.json", revision="v9")
        with pytest.raises(RepositoryNotFoundError):
            snapshot_download("someone/nothing")

    def test_cut_download_goes_on_where_it_stopped(self, hub, api, monkeypatch):
        # What the client has of a chunk when the connection breaks is lost.
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)
        hub.add_model("someone/model", {"model.safetensors": WEIGHTS})
        hub.cut("GET", "/resolve/", times=2, after=1200)
        with open(hf_hub_download("someone/model", "model.safetensors"), "rb") as file:
            assert file.read() == WEIGHTS
        got = [request for request in hub.requests if request.method == "GET" and "/resolve/" in request.path]
        assert [request.headers.get("Range") for request in got] == [None, "bytes=1000-", "bytes=2000-"]
        assert got[-1].status == 206

    def test_range_behind_the_end(self, hub, api):
        hub.add_model("someone/model", {"a.txt": b"abc"})
        url = f"{hub.endpoint}/someone/model/resolve/main/a.txt"
        assert get_session().get(url, headers={"Range": "bytes=1-1"}).content == b"b"
        assert get_session().get(url, headers={"Range": "bytes=3-"}).status_code == 416

    def test_transformers(self, hub, api, tiny_bert, tiny_tokenizer, tmp_path):
        for part in (tiny_bert, tiny_tokenizer):
            part.save_pretrained(tmp_path / "bert")
        hub.add_model("someone/bert", tmp_path / "bert")
        model = AutoModelForSequenceClassification.from_pretrained("someone/bert")
        assert torch.equal(model.classifier.weight, tiny_bert.classifier.weight)
        assert AutoTokenizer.from_pretrained("someone/bert").vocab == tiny_tokenizer.vocab

    def test_card(self, hub, api):
        hub.add_model("someone/model", {"README.md": CARD})
        assert ModelCard.load("someone/model").data.license == "mit"

    def test_offline(self, hub, api, monkeypatch):
        hub.add_model("someone/model", {"config.json": b"{}"})
        path = hf_hub_download("someone/model", "config.json")
        asked = len(hub.requests)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert hf_hub_download("someone/model", "config.json") == path
        with pytest.raises(LocalEntryNotFoundError):
            hf_hub_download("someone/model", "README.md")
        with pytest.raises(OfflineModeIsEnabled):
            api.model_info("someone/model")
        assert len(hub.requests) == asked


class TestRights:
    def test_whoami(self, api):
        assert (whoami()["name"], [org["name"] for org in whoami()["orgs"]]) == ("me", ["lab"])
        assert whoami(token="hf_reader")["auth"]["accessToken"]["role"] == "read"

    @pytest.mark.parametrize(
        "call",
        [
            lambda api: api.whoami(),
            lambda api: api.create_repo("me/new"),
            lambda api: api.model_info("me/model"),
            commit,
            lambda api: api.create_commit("me/model", [CommitOperationAdd("README.md", CARD)], commit_message="Card"),
            lambda api: hf_hub_download("me/model", "config.json", token="hf_unknown"),
        ],
    )
    def test_unknown_token(self, hub, waits, call):
        hub.add_model("me/model", {"config.json": b"{}"})
        with pytest.raises(HfHubHTTPError) as error:
            call(HfApi(token="hf_unknown"))
        assert type(error.value) is HfHubHTTPError and error.value.response.status_code == 401

    @pytest.mark.parametrize("token", ["hf_you", "hf_reader"])
    @pytest.mark.parametrize(
        "call",
        [lambda api: api.create_repo("me/new"), commit, lambda api: api.create_branch("me/model", branch="dev")],
    )
    def test_no_right_to_write(self, hub, waits, token, call):
        head = hub.add_model("me/model", {"config.json": b"[]"})
        with pytest.raises(HfHubHTTPError, match="403 Forbidden") as error:
            call(HfApi(token=token))
        assert error.value.response.status_code == 403
        assert hub.commits("me/model")[0].id == head and "me/new" not in hub.store.repositories

    def test_anonymous_cannot_write(self, hub, waits):
        hub.add_model("me/model", {"config.json": b"[]"})
        with pytest.raises(HfHubHTTPError, match="401"):
            HfApi(token=False).create_repo("me/new")
        with pytest.raises(RepositoryNotFoundError, match="401"):
            commit(HfApi(token=False))

    def test_pull_request_needs_a_token_that_writes(self, hub, waits):
        hub.add_model("me/model", {"config.json": b"[]"})
        assert commit(HfApi(token="hf_you"), create_pr=True).pr_num == 1
        with pytest.raises(HfHubHTTPError, match="403"):
            commit(HfApi(token="hf_reader"), create_pr=True)


def download(api):
    return hf_hub_download("me/model", "big.bin")


# The client retries some requests by itself, five times at most; and has errors of its own for others.
TRIES = {
    "create_repo": ("POST", "/api/repos/create", lambda api: api.create_repo("me/new"), (1, 1, 1, 1), HfHubHTTPError),
    "whoami": ("GET", "/api/whoami-v2", lambda api: api.whoami(), (1, 1, 1, 1), HfHubHTTPError),
    "model_info": ("GET", "/api/models", lambda api: api.model_info("me/model"), (1, 1, 1, 1), HfHubHTTPError),
    "validate": ("POST", "/validate-yaml", lambda api: ModelCard("# A").validate(), (1, 1, 1, 1), HfHubHTTPError),
    "preupload": ("POST", "/preupload/", commit, (6, 6, 6, 6), HfHubHTTPError),
    "batch": ("POST", "/objects/batch", commit, (6, 6, 6, 6), HfHubHTTPError),
    "put": ("PUT", "/lfs/", commit, (6, 6, 6, 6), RuntimeError),
    "verify": ("POST", "/objects/verify", commit, (6, 6, 6, 6), RuntimeError),
    "commit": ("POST", "/commit/", commit, (1, 1, 1, 1), HfHubHTTPError),
    "tree": ("GET", "/tree/", lambda api: list(api.list_repo_tree("me/model")), (6, 6, 6, 6), HfHubHTTPError),
    "head": ("HEAD", "/resolve/", download, (7, 7, 7, 1), LocalEntryNotFoundError),
    "get": ("GET", "/resolve/", download, (6, 1, 1, 6), HfHubHTTPError),
}


class TestFaults:
    @pytest.mark.parametrize("name", TRIES)
    def test_what_the_client_retries(self, hub, api, name):
        method, path, call, tries, error_class = TRIES[name]
        hub.add_model("me/model", {"big.bin": WEIGHTS})
        for status, expected in zip((429, 500, 503, None), tries, strict=True):
            before = len(paths(hub, method, path))
            if status is None:
                hub.cut(method, path, times=expected)
                error_class = error_class if error_class is RuntimeError else httpx.TransportError
            else:
                hub.fail(method, path, status, times=expected)
            with pytest.raises(error_class):
                call(api)
            assert len(paths(hub, method, path)) - before == expected
        call(api)

    def test_retry_after_is_kept(self, hub, api, waits):
        api.create_repo("me/model")
        hub.fail("POST", "/preupload/", 429, headers={"Retry-After": "30"})
        hub.fail("PUT", "/lfs/", 503, times=3)
        commit(api)
        assert waits == [31, 1, 2, 4]

    def test_connection_cut_in_the_middle_of_an_upload(self, hub, api, waits):
        api.create_repo("me/model")
        hub.cut("PUT", "/lfs/", after=100_000)
        hub.cut("PUT", "/lfs/", after=100_000, reset=True)
        hub.cut("PUT", "/lfs/", after_handling=True)
        info = commit(api)
        puts = [request for request in hub.requests if request.method == "PUT"]
        assert [(len(put.body), put.status) for put in puts] == [
            (100_000, None),
            (100_000, None),
            (300_000, None),
            (300_000, 200),
        ]
        assert hub.commits("me/model")[0].id == info.oid

    def test_reset_download_is_not_retried(self, hub, api):
        hub.add_model("me/model", {"big.bin": WEIGHTS})
        hub.cut("GET", "/resolve/", after=1000, reset=True)
        with pytest.raises(httpx.ReadError):
            download(api)

    @pytest.mark.parametrize("cut", [False, True])
    def test_commit_whose_answer_is_lost(self, hub, api, cut):
        def operations():
            return [CommitOperationAdd("config.json", b"{}"), CommitOperationAdd("model.safetensors", WEIGHTS)]

        api.create_repo("me/model")
        if cut:
            hub.cut("POST", "/commit/", after=10, after_handling=True)
        else:
            hub.fail("POST", "/commit/", 504, after_handling=True)
        used = operations()
        with pytest.raises((HfHubHTTPError, httpx.RemoteProtocolError)):
            api.create_commit("me/model", used, commit_message="A commit")
        made = hub.commits("me/model")
        assert made[0].changed == ("config.json", "model.safetensors")
        # New operations find their files there already. Used ones remember that they were not.
        assert api.create_commit("me/model", operations(), commit_message="A commit").oid == made[0].id
        assert hub.commits("me/model") == made
        assert api.create_commit("me/model", used, commit_message="A commit").oid != made[0].id

    def test_faults_come_in_order(self, hub, api):
        for status in (500, 400, 502):
            hub.fail("GET", "whoami", status, body=b'{"error": "so %d"}' % status)
        for status in (500, 400, 502):
            with pytest.raises(HfHubHTTPError, match=f"so {status}"):
                api.whoami()
        assert api.whoami()["name"] == "me"
        assert [request.status for request in hub.requests] == [500, 400, 502, 200]

    def test_a_failure_of_the_hub_itself_is_not_hidden(self, monkeypatch, tmp_path):
        hub = LoopbackHub()
        with pytest.raises(ValueError, match="Expecting value"), hub:
            connect(monkeypatch, hub, tmp_path)
            with pytest.raises(httpx.RemoteProtocolError):
                get_session().post(f"{hub.endpoint}/api/validate-yaml", content=b"no JSON")


def test_connect_is_undone(hub, tmp_path):
    before = (constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE, HfApi().endpoint, dict(os.environ))
    with pytest.MonkeyPatch.context() as monkeypatch:
        connect(monkeypatch, hub, tmp_path, token="hf_me")
        assert HfApi().endpoint == hub.endpoint
    after = (constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE, HfApi().endpoint, dict(os.environ))
    assert after == before


def test_bad_request(api):
    with pytest.raises(BadRequestError, match="models only"):
        api.create_repo("me/data", repo_type="dataset")
