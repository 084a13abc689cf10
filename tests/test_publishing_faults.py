"""A Hub that fails, a token that may not, somebody else who commits: one commit or none, and one clear line."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi, constants, logging
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from hf_finemix import InputError, hub_errors, publish
from hf_finemix.publishing import check_target

from .files import run
from .hub import LoopbackHub, connect, environment
from .hub.faults import Fault
from .purified import FILES, STOCK_CARD, TOKEN, one_line, read


READER = "hf_" + "Reader00" * 4 + "Zz"
# Each request of a push to a repository that has a card.
REQUESTS = {
    "create_repo": ("POST", "^/api/repos/create$"),
    "branch": ("POST", "^/api/models/me/purified/branch/dev$"),
    "model_info": ("GET", "^/api/models/me/purified(/revision/dev)?$"),
    "head of the card": ("HEAD", "/resolve/.*README.md$"),
    "card": ("GET", "/resolve/.*README.md$"),
    "validate": ("POST", "^/api/validate-yaml$"),
    "preupload": ("POST", "/preupload/dev$"),
    "batch": ("POST", "/objects/batch$"),
    "put": ("PUT", "^/lfs/"),
    "verify": ("POST", "/objects/verify$"),
    "commit": ("POST", "/commit/dev$"),
}
FAULTS = {
    "500": {"status": 500, "times": 2},
    "429": {"status": 429, "headers": {"Retry-After": "3"}, "body": b"{}"},
    "cut": {"status": None},
    "reset": {"status": None, "reset": True},
}
COMMIT = ("POST", "/commit/")


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        hub.add_user("me", READER, role="read")
        hub.add_user("you", "hf_you")
        yield hub


@pytest.fixture
def log_in(hub, monkeypatch, tmp_path):
    """Logs in with another token, or with none."""

    def log_in(token=None):
        waits = connect(monkeypatch, hub, tmp_path / "home", token=token)
        monkeypatch.setattr(hub_errors, "time", SimpleNamespace(sleep=waits.append))
        return waits

    # What a process of its own would do before it imports the libraries.
    disable_progress_bars()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    yield log_in
    logging.set_verbosity(verbosity)
    enable_progress_bars()


@pytest.fixture(autouse=True)
def waits(log_in):
    """The seconds that a client with a valid token would have waited."""
    return log_in(TOKEN)


def order(hub, request, **fault):
    """Orders a fault; it stops when its `times` are set to 0."""
    hub.faults.add(ordered := Fault(*request, **fault))
    return ordered


def failed(hub, request, status):
    method, path = request
    return [r for r in hub.requests if r.method == method and re.search(path, r.path) and r.status == status]


class TestTemporary:
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("name", REQUESTS)
    def test_is_tried_again(self, name, fault, folder, hub, waits):
        head = hub.add_model("me/purified", {"README.md": STOCK_CARD})
        before = read(folder)
        order(hub, REQUESTS[name], **FAULTS[fault])
        published = publish(folder, "me/purified", revision="dev")
        assert len(failed(hub, REQUESTS[name], FAULTS[fault]["status"])) == FAULTS[fault].get("times", 1)
        newest, parent = hub.commits("me/purified", "dev")[:2]
        assert (newest.id, parent.id) == (published.oid, head)
        assert hub.files("me/purified", "dev").keys() == FILES | {".gitattributes"}
        assert "How it was trained." in hub.files("me/purified", "dev")["README.md"].decode()
        assert read(folder) == before
        if name == "head of the card":
            # The client asks a second time at once, and waits only before the third.
            assert waits == {"500": [1], "429": []}.get(fault, [1])
        else:
            # It adds a second where it waits for as long as it was told.
            assert waits in {"500": ([1, 2],), "429": ([3], [4])}.get(fault, ([1],))

    @pytest.mark.parametrize("name", ["head of the card", "preupload", "put", "verify"])
    def test_what_the_client_gives_up_on_is_tried_again(self, name, folder, hub):
        hub.add_model("me/purified", {"README.md": STOCK_CARD})
        ordered = order(hub, REQUESTS[name], status=500, times=7)
        published = publish(folder, "me/purified", revision="dev")
        assert hub.commits("me/purified", "dev")[0].id == published.oid
        assert ordered.times == (1 if name == "verify" else 0)  # which is not asked again of an object that is there

    def test_limit_as_the_hub_states_it(self, folder, hub, waits):
        order(hub, COMMIT, status=429, headers={"RateLimit": '"api";r=0;t=55'})
        publish(folder, "me/purified")
        assert len(waits) == 1 and waits[0] >= 55

    @pytest.mark.parametrize(
        "fault", [{"status": 504}, {"after": None}, {"after": 10}], ids=["504", "cut", "cut late"]
    )
    def test_commit_whose_answer_is_lost_is_made_once(self, fault, folder, hub):
        head = hub.add_model("me/purified", {"README.md": STOCK_CARD, "pytorch_model.bin": b"old"})
        order(hub, COMMIT, after_handling=True, **fault)
        published = publish(folder, "me/purified")
        newest, parent = hub.commits("me/purified")[:2]
        assert (newest.id, parent.id) == (published.oid, head)
        assert hub.files("me/purified").keys() == FILES | {".gitattributes"}

    def test_what_a_commit_removed_is_known_though_its_answer_is_lost(self, folder, hub):
        hub.add_model("me/purified", {"pytorch_model.bin": b"old"})
        order(hub, COMMIT, status=504, after_handling=True)
        assert (
            publish(folder, "me/purified").removed == hub.commits("me/purified")[0].deleted == ("pytorch_model.bin",)
        )

    def test_pull_request_whose_answer_is_lost_is_opened_once(self, folder, hub):
        hub.add_model("you/model", {"README.md": STOCK_CARD})
        order(hub, COMMIT, status=504, after_handling=True)
        try:
            published = publish(folder, "you/model", create_pr=True)
        except RuntimeError as error:
            assert "pull request" in str(error)
        else:
            assert published.pr_url == f"{hub.endpoint}/you/model/discussions/1"
        assert hub.store.repositories["you/model"].pull_requests == ["refs/pr/1"]

    @pytest.mark.parametrize("name", ["create_repo", "branch", "put"])
    def test_other_answers_may_be_lost_too(self, name, folder, hub):
        order(hub, REQUESTS[name], after_handling=True)
        published = publish(folder, "me/purified", private=True, revision="dev")
        assert hub.commits("me/purified", "dev")[0].id == published.oid and len(hub.commits("me/purified")) == 1
        assert hub.store.repositories["me/purified"].private

    @pytest.mark.parametrize("name", ["notes.md", "README.md"])
    def test_commit_of_somebody_else_in_between_is_kept(self, name, folder, hub, monkeypatch):
        hub.add_model("me/purified", {"README.md": STOCK_CARD})
        others, create_commit = [], HfApi.create_commit

        def disturbed(*arguments, **options):
            if not others:
                others.append(hub.add_model("me/purified", {name: STOCK_CARD.replace(b"was", b"was really")}))
            return create_commit(*arguments, **options)

        monkeypatch.setattr(HfApi, "create_commit", disturbed)
        published = publish(folder, "me/purified")
        assert failed(hub, COMMIT, 412)
        newest, parent = hub.commits("me/purified")[:2]
        assert (newest.id, parent.id) == (published.oid, *others)
        assert hub.files("me/purified").keys() == FILES | {".gitattributes", name}
        assert "How it was really trained." in hub.files("me/purified")[name].decode()


class TestPermanent:
    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {}], ids=["500", "429", "cut"])
    # Of an object that is there already the client does not ask whether it is.
    @pytest.mark.parametrize("name", [name for name in REQUESTS if name != "verify"])
    def test_fails_in_one_line_and_is_finished_later(self, name, fault, folder, hub):
        head = hub.add_model("me/purified", {"README.md": STOCK_CARD})
        before = read(folder)
        ordered = order(hub, REQUESTS[name], times=1000, **fault)
        what = r"The (Hub fails with status 500|Hub limits|Hub does not answer \(|upload failed \()"
        with pytest.raises(RuntimeError, match=rf"^{what}.*; run the command again .*to finish\.$") as error:
            publish(folder, "me/purified", revision="dev")
        assert one_line(error) and TOKEN not in str(error.value)
        heads = hub.store.repositories["me/purified"].heads
        assert set(heads.values()) == {head} and ordered.times < 1000
        assert read(folder) == before
        ordered.times = 0
        published = publish(folder, "me/purified", revision="dev")
        assert [commit.id for commit in hub.commits("me/purified", "dev")[:2]] == [published.oid, head]

    def test_somebody_who_never_stops_committing(self, folder, hub):
        ordered = order(hub, COMMIT, times=1000, status=412)
        with pytest.raises(RuntimeError, match="Somebody else commits to 'me/purified'") as error:
            publish(folder, "me/purified")
        assert one_line(error) and 2 <= 1000 - ordered.times <= 10


REFUSED = {
    "no token": (None, "me/purified", {}, "hf auth login"),
    "wrong token": ("hf_wrong", "me/purified", {}, "hf auth login"),
    "read-only token": (READER, "me/purified", {}, "may not write to 'me/purified'"),
    "foreign namespace": (TOKEN, "you/purified", {}, "may not write to 'you/purified'"),
    "foreign repository": (TOKEN, "you/model", {}, "may not write to 'you/model'"),
    "foreign private repository": (TOKEN, "you/secret", {"create_pr": True}, "no repository .* can see"),
    "nothing there": (TOKEN, "you/nothing", {"create_pr": True}, "no repository .* can see"),
    "read-only token for a pull request": (READER, "you/model", {"create_pr": True}, "may not write to 'you/model'"),
    "no such pull request": (TOKEN, "me/old", {"revision": "refs/pr/7"}, "'me/old' has no such branch"),
}


class TestRights:
    @pytest.mark.parametrize("name", REFUSED)
    def test_refused_in_one_line(self, name, folder, hub, log_in):
        token, repo_id, options, message = REFUSED[name]
        hub.add_model("you/model", {"README.md": STOCK_CARD})
        hub.add_model("you/secret", {"README.md": STOCK_CARD}, private=True)
        hub.add_model("me/old", {"README.md": STOCK_CARD})
        heads = {name: dict(found.heads) for name, found in hub.store.repositories.items()}
        before, waits = read(folder), log_in(token)
        with pytest.raises(InputError, match=message) as error:
            publish(folder, repo_id, **options)
        assert one_line(error) and "hf_" not in str(error.value)
        assert {name: found.heads for name, found in hub.store.repositories.items()} == heads
        assert read(folder) == before and not waits

    def test_offline(self, folder, hub, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        for call in (lambda: publish(folder, "me/purified"), lambda: check_target("me/purified")):
            with pytest.raises(InputError, match="offline mode; unset HF_HUB_OFFLINE") as error:
                call()
            assert one_line(error)
        assert not hub.requests

    def test_metadata_that_the_hub_refuses(self, folder, hub):
        body = json.dumps({"errors": [{"message": '"license" must be\none of these'}], "warnings": []}).encode()
        order(hub, REQUESTS["validate"], status=400, body=body)
        with pytest.raises(InputError, match=r'refuses the metadata of the card: .*"license" must be one of') as error:
            publish(folder, "me/purified")
        assert one_line(error) and len(hub.commits("me/purified")) == 1

    def test_target_is_checked_without_touching_it(self, hub, log_in):
        for name in ("me/purified", "purified"):
            check_target(name)
        order(hub, ("GET", "whoami"), status=500, times=2)
        check_target("me/purified")
        for token, name, message in (
            (None, "me/a", "hf auth login"),
            ("hf_wrong", "me/a", "hf auth login"),
            (READER, "me/a", "can only read"),
            (TOKEN, "you/a", "You are 'me' .* may not write to 'you'"),
            (TOKEN, "a b", "no valid Hub id"),
        ):
            log_in(token)
            with pytest.raises(InputError, match=message) as error:
                check_target(name)
            assert one_line(error)
        assert not hub.store.repositories and {request.path for request in hub.requests} == {"/api/whoami-v2"}


class TestCommandLine:
    def test_push_in_a_process_of_its_own(self, folder, hub, tmp_path):
        hub.add_model("me/purified", {"pytorch_model.bin": b"old"})
        command = [sys.executable, "-m", "hf_finemix.cli.main", "push", str(folder), "me/purified", "--public"]
        variables = os.environ | environment(hub, tmp_path / "home", HF_TOKEN=TOKEN)
        result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
        assert (result.returncode, result.stderr) == (0, "")
        url = f"{hub.endpoint}/me/purified/commit/{hub.commits('me/purified')[0].id}"
        assert f"Published 8 files: {url}\n" in result.stdout and "hf-finemix verify me/purified\n" in result.stdout
        assert ": pytorch_model.bin\n" in result.stdout

    @pytest.mark.parametrize("fault", ["wrong token", "read-only token", "foreign namespace", "offline"])
    @pytest.mark.parametrize("command", ["push", "purify"])
    def test_faults_of_the_user_give_2(self, command, fault, folder, hub, log_in, workplace, capsys, monkeypatch):
        token, target = REFUSED[fault][:2] if fault in REFUSED else (TOKEN, "me/purified")
        log_in(token)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", fault == "offline")
        shutil.rmtree(workplace.suspect)  # would be noticed first, if anything were done before
        arguments = ["push", folder, target] if command == "push" else workplace.arguments(f"--push-to-hub={target}")
        if command == "purify":
            shutil.rmtree(folder)
        status, out, err = run(capsys, arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert re.match(f"hf-finemix {command}: error: (The Hub|You)", err) and "hf_" not in err
        assert not hub.store.repositories and (command == "push" or not workplace.output.exists())

    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {}], ids=["500", "429", "cut"])
    def test_faults_of_the_hub_give_1(self, fault, folder, hub, capsys):
        order(hub, COMMIT, times=1000, **fault)
        status, out, err = run(capsys, ["push", folder, "me/purified"])
        assert (status, out, err.count("\n")) == (1, "", 1) and err.startswith("hf-finemix push: failed: The Hub ")
        assert len(hub.commits("me/purified")) == 1

    def test_purify_and_push(self, hub, workplace, capsys):
        more = ["--push-to-hub=me/purified", "--private", "--commit-message=Here it is"]
        status, out, err = run(capsys, workplace.arguments(*more))
        assert status == 0, err
        assert (
            hub.files("me/purified").keys()
            == read(workplace.output).keys() | {".gitattributes"}
            == FILES | {".gitattributes"}
        )
        assert hub.store.repositories["me/purified"].private and hub.commits("me/purified")[0].title == "Here it is"
        assert f"{hub.endpoint}/me/purified/commit/" in out

    def test_dry_run_asks_the_hub_nothing(self, hub, workplace, capsys):
        assert run(capsys, workplace.arguments("--push-to-hub=me/purified", "--dry-run"))[0] == 0
        assert not hub.requests

    @pytest.mark.parametrize("private", [False, True], ids=["", "private"])
    def test_push_that_fails_at_the_end_can_be_finished(self, private, hub, workplace, capsys):
        ordered = order(hub, REQUESTS["create_repo"], status=500, times=1000)
        more = ["--push-to-hub=me/purified"] + ["--private"] * private
        status, out, err = run(capsys, workplace.arguments(*more, output=workplace.root / "an output"))
        assert status == 1 and "Purified model: " in out
        assert err.startswith("hf-finemix purify: failed: The Hub fails with status 500") and err.count("\n") == 1
        assert read(workplace.root / "an output").keys() == FILES
        ordered.times = 0
        command = shlex.split(re.search("The purified model is safe; `(.+)` publishes it", err)[1])
        assert command[0] == "hf-finemix" and run(capsys, command[1:])[0] == 0
        assert hub.files("me/purified").keys() == FILES | {".gitattributes"}
        assert hub.store.repositories["me/purified"].private is private
