"""The Hub of the tests gives downloads like the real one, as far as its client can tell."""

import pytest
import torch
from huggingface_hub import ModelCard, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from .traffic import CARD, WEIGHTS


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

    def test_data_sets_are_apart_from_models(self, hub, api):
        commit = hub.add_dataset("someone/data", {"data/train.csv": b"text,label\n"})
        path = hf_hub_download("someone/data", "data/train.csv", repo_type="dataset")
        with open(path, "rb") as file:
            assert file.read() == b"text,label\n" and f"/{commit}/" in path
        assert api.dataset_info("someone/data").sha == commit
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("someone/data")

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
