"""The Hub of the tests takes uploads like the real one, as far as its client can tell."""

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, ModelCard, hf_hub_download, upload_folder
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import get_session

from ..purified import read
from .traffic import CARD, WEIGHTS, commit, paths


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_bytes(CARD)
    (folder / "config.json").write_bytes(b'{"a": 1}')
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "sub" / "plot.png").write_bytes(b"\x89PNG" + bytes(100))
    return folder


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
