"""`publish`: one commit with the files of the manifest and no others, the card's owner respected, never a token."""

import hashlib
import json
import pickle
import shutil
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import save_file
from transformers import BertForSequenceClassification

from hf_finemix import InputError, publish
from hf_finemix.card import DefenseCard
from hf_finemix.card_merge import END, seal
from hf_finemix.evidence import rewrite_card, saved_files, write_evidence
from hf_finemix.hashes import FileRecord
from hf_finemix.manifest import load_manifest
from hf_finemix.pipeline import PurifyResult
from hf_finemix.publishable import check_file
from hf_finemix.results import load_report
from hf_finemix.verifying import verify

from .hub import LoopbackHub, connect
from .purified import FILES, PAGE, STOCK_CARD, TOKEN, TOKENIZER, one_line, read


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        yield hub


@pytest.fixture(autouse=True)
def client(hub, monkeypatch, tmp_path):
    connect(monkeypatch, hub, tmp_path / "home", token=TOKEN)


def card_on(hub):
    return hub.files("me/purified")["README.md"].decode()


class TestCommit:
    def test_exactly_the_files_of_the_manifest_in_one_commit(self, folder, hub):
        before = read(folder)
        published = publish(folder, "me/purified")
        commit, first = hub.commits("me/purified")
        files = hub.files("me/purified")
        assert files.keys() == FILES | {".gitattributes"}
        assert (commit.parent, set(commit.changed), commit.deleted) == (first.id, FILES, ())
        assert commit.title == "Add a model purified with hf-finemix"
        # Card and page have the name of the repository, the page not the texts; the manifest has their hashes.
        for name in FILES - PAGE - {"README.md", "finemix_manifest.json"}:
            assert files[name] == before[name], name
        assert read(folder) == before
        assert (published.repo_id, published.oid, published.pr_url) == ("me/purified", commit.id, None)
        assert published.commit_url == f"{hub.endpoint}/me/purified/commit/{commit.id}"
        assert (set(published.files), published.removed) == (FILES, ())

    def test_shards_with_their_index(self, folder, hub):
        model = BertForSequenceClassification.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="8KB")
        card = DefenseCard(load_report(folder), "out")
        write_evidence(folder, card, load_manifest(folder), saved_files(folder) | TOKENIZER)
        shards = {path.name for path in folder.glob("model-*-of-*.safetensors")}
        assert len(shards) > 1
        published = publish(folder, "me/purified")
        expected = FILES - {"model.safetensors"} | shards | {"model.safetensors.index.json"}
        assert set(published.files) == expected
        assert hub.files("me/purified").keys() == expected | {".gitattributes"}
        again = BertForSequenceClassification.from_pretrained("me/purified")
        assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())

    def test_card_names_the_repository(self, folder, hub):
        publish(folder, "me/purified")
        text = card_on(hub)
        assert "hf-finemix verify me/purified\n" in text and 'model="me/purified")' in text
        assert "path/to/this/folder" not in text and "# purified\n" in text
        card = ModelCard.load("me/purified")
        card.validate()
        assert card.data.eval_results[0].metric_type == "accuracy"
        assert "hf-finemix" in card.data.tags and card.data.pipeline_tag == "text-classification"

    def test_manifest_fits_what_was_uploaded(self, folder, hub, tmp_path):
        publish(folder, "me/purified")
        files = hub.files("me/purified")
        (tmp_path / "copy").mkdir()
        for name, content in files.items():
            (tmp_path / "copy" / name).write_bytes(content)
        manifest, local = load_manifest(tmp_path / "copy"), load_manifest(folder)
        sums = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
        del sums["finemix_manifest.json"], sums[".gitattributes"]
        assert {file.name: (file.size, file.sha256) for file in manifest.outputs} == sums
        assert seal(files["README.md"].decode(), manifest.card.keys) == manifest.card != local.card
        assert replace(manifest, outputs=(), card=None) == replace(local, outputs=(), card=None)
        assert not verify("me/purified").failed()

    def test_message_and_name_without_namespace(self, folder, hub):
        published = publish(folder, "purified", commit_message="Here it is")
        assert published.repo_id == "me/purified"
        assert hub.commits("me/purified")[0].title == "Here it is"
        assert "hf-finemix verify me/purified\n" in card_on(hub)

    def test_second_push_without_change_makes_no_commit(self, folder, hub):
        first, second = publish(folder, "me/purified"), publish(folder, "me/purified")
        assert len(hub.commits("me/purified")) == 2
        assert (second.oid, second.files, second.removed) == (first.oid, first.files, ())

    @pytest.mark.parametrize("private", [None, False, True])
    def test_visibility_of_a_new_repository(self, private, folder, hub):
        publish(folder, "me/purified", private=private)
        assert hub.store.repositories["me/purified"].private is bool(private)
        publish(folder, "me/purified", private=private)

    @pytest.mark.parametrize("private", [False, True])
    def test_other_visibility_of_an_existing_repository_is_refused(self, private, folder, hub):
        head = hub.add_model("me/purified", {"README.md": STOCK_CARD}, private=not private)
        with pytest.raises(InputError, match=r"exists and is (private, not public|public, not private)") as error:
            publish(folder, "me/purified", private=private)
        assert one_line(error) and hub.commits("me/purified")[0].id == head

    def test_branch_is_made_and_main_left_alone(self, folder, hub):
        head = hub.add_model("me/purified", {"README.md": STOCK_CARD})
        for _ in range(2):
            published = publish(folder, "me/purified", revision="dev")
        assert hub.commits("me/purified")[0].id == head
        assert [commit.id for commit in hub.commits("me/purified", "dev")][:2] == [published.oid, head]
        assert hub.files("me/purified", "dev").keys() == FILES | {".gitattributes"}

    def test_pull_request_to_somebody_elses_repository(self, folder, hub):
        hub.add_user("you", "hf_you")
        head = hub.add_model("you/model", {"README.md": STOCK_CARD})
        published = publish(folder, "you/model", create_pr=True)
        assert published.pr_url == f"{hub.endpoint}/you/model/discussions/1"
        assert hub.commits("you/model")[0].id == head
        newest, parent = hub.commits("you/model", "refs/pr/1")[:2]
        assert (newest.id, parent.id, set(newest.changed)) == (published.oid, head, FILES)
        assert "How it was trained." in hub.files("you/model", "refs/pr/1")["README.md"].decode()

    def test_pull_request_and_branch_exclude_each_other(self, folder, hub):
        with pytest.raises(InputError, match="exclude each other"):
            publish(folder, "me/purified", revision="dev", create_pr=True)
        assert not hub.requests

    def test_result_without_a_folder_is_refused(self):
        with pytest.raises(InputError, match="no output folder"):
            PurifyResult(None, None, None, None).push_to_hub("me/purified")


class TestOwner:
    def test_what_the_owner_wrote_on_the_hub_is_kept(self, folder, hub):
        publish(folder, "me/purified")
        text = card_on(hub) + "\n## Contact\n\nWrite to me.\n"
        for old, new in (
            ("---\n", "---\nlicense: mit\nthumbnail: me.png\n"),
            ("tags:\n", "tags:\n- mine\n"),
            ("## Citation", "## My notes\n\nInside.\n\n## Citation"),
            ("This model was made with", "This model, the best of all, was made with"),
        ):
            assert old in text
            text = text.replace(old, new, 1)
        hub.add_model("me/purified", {"README.md": text.encode()})
        publish(folder, "me/purified")
        assert set(hub.commits("me/purified")[0].changed) == {"README.md", "finemix_manifest.json"}
        card = ModelCard.load("me/purified")
        assert (card.data.license, card.data["thumbnail"]) == ("mit", "me.png")
        assert {"mine", "hf-finemix"} <= set(card.data.tags)
        own = card.text.split(END)[1]
        assert "## My notes\n\nInside." in own and "## Contact\n\nWrite to me." in own
        assert "the best of all" not in card.text
        assert not verify("me/purified").failed()
        made = hub.commits("me/purified")
        publish(folder, "me/purified")
        assert hub.commits("me/purified") == made
        # The seal is over our part, so that its owner can go on editing.
        hub.add_model("me/purified", {"README.md": card_on(hub).replace("me.png", "you.png").encode() + b"\nMore.\n"})
        assert not verify("me/purified").failed()

    def test_stock_card_stands_whole_below_ours(self, folder, hub):
        hub.add_model("me/purified", {"README.md": STOCK_CARD})
        publish(folder, "me/purified")
        card = ModelCard.load("me/purified")
        assert (card.data.license, card.data.language) == ("apache-2.0", "en")
        assert {"mine", "hf-finemix"} <= set(card.data.tags)
        assert card.text.split(END)[1].strip() == "# Old model\n\nHow it was trained."

    def test_what_the_owner_wrote_into_the_folder_is_published(self, folder, hub):
        path = folder / "README.md"
        path.write_text(path.read_text().replace("---\n", "---\nlicense: mit\n", 1) + "\n## Contact\n\nWrite to me.\n")
        publish(folder, "me/purified")
        card = ModelCard.load("me/purified")
        assert card.data.license == "mit" and "## Contact\n\nWrite to me." in card.text

    def test_card_on_the_hub_that_cannot_be_read_is_left_alone(self, folder, hub):
        for broken in (b"---\na: [b\n---\n# Old\n", b"\xff\xfe\x00"):
            head = hub.add_model("me/purified", {"README.md": broken})
            with pytest.raises(InputError, match=r"card of 'me/purified' cannot be updated.*repair it") as error:
                publish(folder, "me/purified")
            assert one_line(error) and hub.commits("me/purified")[0].id == head

    def test_files_that_would_be_loaded_go_and_others_stay(self, folder, hub):
        weights = {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "tf_model.h5"}
        pickles = {"pytorch_model.bin", "pytorch_model.bin.index.json", "training_args.bin"}
        texts = {"vocab.txt", "special_tokens_map.json", "generation_config.json", "model.sig"}
        stale = weights | pickles | texts | {"adapter_config.json"}
        others = {"plot.png", "LICENSE", "eval/log.txt", "onnx/model.onnx", "notes.md", "train.py", "scores.npz"}
        hub.add_model("me/purified", {name: name.encode() for name in stale | others | {"config.json"}})
        published = publish(folder, "me/purified")
        commit = hub.commits("me/purified")[0]
        assert set(published.removed) == set(commit.deleted) == stale
        assert published.conversions == ("onnx/model.onnx",)
        assert set(commit.changed) == FILES
        assert hub.files("me/purified").keys() == FILES | others | {".gitattributes"}


def test_nothing_else_in_the_folder_is_uploaded(folder, hub):
    strays = (
        "notes.txt",
        ".env",
        "training_args.bin",
        "optimizer.pt",
        "pytorch_model.bin",
        "vocab.txt",
        "runs/events",
    )
    for name in (*strays, "training_args.json", "checkpoint-3/model.safetensors", "checkpoint-3/optimizer.pt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"left lying about")
    publish(folder, "me/purified")
    assert hub.files("me/purified").keys() == FILES | {".gitattributes"}
    assert not [request for request in hub.received if b"left lying about" in request]


@pytest.mark.parametrize("by_argument", [False, True], ids=["environment", "argument"])
def test_neither_token_nor_path_is_uploaded_or_written(by_argument, folder, made, hub, monkeypatch, tmp_path, capfd):
    if by_argument:
        connect(monkeypatch, hub, tmp_path / "home")
    publish(folder, "me/purified", token=TOKEN if by_argument else None)
    publish(folder, "me/purified", token=TOKEN if by_argument else None, create_pr=True)
    assert len(hub.received) > 10
    for secret in (TOKEN, str(tmp_path), str(made.parent)):
        assert not [request for request in hub.received if secret.encode() in request]
    assert not [name for name, data in read(tmp_path).items() if TOKEN.encode() in data]
    assert TOKEN not in "".join(capfd.readouterr())


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def append(name, text):
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def remove(name):
    return lambda folder: (folder / name).unlink()


def link(name):
    def damage(folder):
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")

    return damage


def tamper(change):
    """Changes the manifest's JSON."""

    def damage(folder):
        path = folder / "finemix_manifest.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def listed(name, content):
    """Puts a file into the folder and into its manifest."""

    def damage(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        record = {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

        def change(manifest):
            manifest["outputs"] = [file for file in manifest["outputs"] if file["name"] != name] + [record]

        tamper(change)(folder)

    return damage


def entry(name):
    return tamper(lambda content: content["outputs"].append({"name": name, "size": 1, "sha256": "0" * 64}))


REFUSED = {
    "changed": (write("config.json", b"{}"), "config.json in .* has changed since it was made"),
    "changed report": (append("finemix_report.json", "\n"), "finemix_report.json in .* has changed"),
    "missing": (remove("model.safetensors"), "model.safetensors in .* is missing or a link"),
    "no card": (remove("README.md"), "README.md in .* is missing or a link"),
    "link": (link("tokenizer.json"), "tokenizer.json in .* is missing or a link"),
    "link for a card": (link("README.md"), "README.md in .* is missing or a link"),
    "pickle by name": (listed("pytorch_model.bin", b"harmless"), "pytorch_model.bin in .* is a pickle"),
    "pickle below": (listed("old/rng_state.pth", b"harmless"), "rng_state.pth in .* is a pickle"),
    "pickle by content": (listed("vocab.txt", pickle.dumps({"a": 1})), "vocab.txt in .* is a pickle"),
    "archive by content": (listed("vocab.txt", b"PK\x03\x04 and so on"), "vocab.txt in .* is a pickle or an archive"),
    "token": (listed("added_tokens.json", b'{"hf_%s": 1}' % (b"x" * 34)), "added_tokens.json in .* holds a token"),
    "token in the card": (write("README.md", f"# A\n\n{TOKEN}\n".encode()), "README.md in .* holds a token"),
    "token in weights": (listed("model.safetensors", TOKEN.encode()), "model.safetensors in .* holds a token"),
    "token in the manifest": (
        tamper(lambda content: content["environment"].update(note=TOKEN)),
        "finemix_manifest.json.* holds a token",
    ),
    "damaged card": (write("README.md", b"---\na: [b\n---\n"), "README.md cannot be updated"),
    "damaged manifest": (write("finemix_manifest.json", b"{"), "finemix_manifest.json' is damaged"),
    "other version": (tamper(lambda content: content.update(manifest_version=9)), "damaged .its version is 9"),
    "damaged report": (write("finemix_report.json", b"[]"), "finemix_report.json' is damaged"),
    "no manifest": (remove("finemix_manifest.json"), "has no finemix_manifest.json; give an output folder"),
    "no report": (remove("finemix_report.json"), "has no finemix_report.json"),
    "no folder": (shutil.rmtree, "has no finemix_manifest.json"),
    "no model": (tamper(lambda content: content.update(outputs=[])), "lists no model"),
    "outside": (entry("../secret.txt"), "damaged .it names the file '../secret.txt'"),
    "absolute": (entry("/etc/passwd"), "damaged .it names the file '/etc/passwd'"),
    "outside and back": (entry("a/../../secret.txt"), "damaged"),
    "backslash": (entry("..\\secret.txt"), "damaged"),
    "twice": (entry("config.json"), "damaged .it names the file 'config.json'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unfit_folder_is_refused_before_anything_is_made(name, folder, hub):
    damage, message = REFUSED[name]
    (folder.parent / "secret.txt").write_bytes(b"x")
    damage(folder)
    before = read(folder)
    with pytest.raises(InputError, match=message) as error:
        publish(folder, "me/purified")
    assert one_line(error) and TOKEN not in str(error.value)
    assert not [request for request in hub.requests if request.method == "POST"] and not hub.store.repositories
    assert read(folder) == before


def test_invalid_name_is_refused(folder, hub):
    for name in ("me/puri fied", "a/b/c", "", "me/-purified"):
        with pytest.raises(InputError, match="is no valid Hub id; name a repository as") as error:
            publish(folder, name)
        assert one_line(error)
    assert not hub.requests


class TestNameAndLicence:
    def test_name_that_was_chosen_is_kept(self, folder, hub):
        rewrite_card(folder, DefenseCard(load_report(folder), "Nice name"))
        publish(folder, "me/purified")
        assert "# Nice name\n" in card_on(hub)

    @pytest.mark.parametrize(
        ("asked", "there", "expected"),
        [("mit", "apache-2.0", "mit"), (None, "apache-2.0", "apache-2.0"), ("mit", None, "mit"), (None, None, None)],
    )
    def test_text_and_metadata_state_the_same_licence(self, folder, hub, asked, there, expected):
        if there is not None:
            hub.add_model("me/purified", {"README.md": f"---\nlicense: {there}\n---\nMine.\n".encode()})
        rewrite_card(folder, DefenseCard(load_report(folder), "out", license=asked))
        publish(folder, "me/purified")
        card = ModelCard.load("me/purified")
        assert card.data.license == expected
        assert ("none is stated here" in card.text) == (expected is None)
        assert expected is None or f"The publisher of this model states: {expected}." in card.text

    def test_what_is_no_licence_id_is_refused(self, folder):
        with pytest.raises(InputError, match="`license` is 'my own'"):
            DefenseCard(load_report(folder), "out", license="my own")


def test_weights_that_begin_like_a_pickle_are_none(tmp_path):
    # The first eight bytes are the length of the header.
    path = tmp_path / "model.safetensors"
    for size in range(2000):
        save_file({"a" * (1 + size): torch.zeros(1)}, path)
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    content = path.read_bytes()
    assert content.startswith(b"\x80\x02")
    check_file(tmp_path, FileRecord("model.safetensors", len(content), hashlib.sha256(content).hexdigest()), b"")
