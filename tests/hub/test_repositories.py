"""The Hub of the tests keeps repositories like the real one, and knows who may do what with them."""

import re

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, whoami
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError

from . import LoopbackHub, connect
from .traffic import CARD, commit


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


def test_bad_request(api):
    with pytest.raises(BadRequestError, match="models only"):
        api.create_repo("me/data", repo_type="dataset")
