"""Failures of the Hub of the tests, and how its client takes them."""

import pytest
from huggingface_hub import CommitOperationAdd, ModelCard, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import get_session, httpx

from . import LoopbackHub, connect
from .traffic import WEIGHTS, commit, paths


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
