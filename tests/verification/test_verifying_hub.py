"""`verify` over real HTTP from a loopback Hub, and in other processes than the one that purified."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from hf_finemix import FineMixConfig, FineMixMixin, publish, purify
from hf_finemix.results import Recipe

from ..files import SHORT, make_workplace, run
from ..hub import LoopbackHub, connect
from ..models import make


RECIPE = Recipe(epochs=1, learning_rate=1e-4, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
CONFIG = FineMixConfig(purify_top_k=5)
TENSORS = 39
OUTPUTS = {
    "README.md",
    "config.json",
    "finemix_report.html",
    "finemix_report.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(autouse=True)
def no_bars():
    disable_progress_bars()
    yield
    enable_progress_bars()


@pytest.fixture
def hub(workplace):
    with LoopbackHub() as hub:
        hub.add_user("me", "hf_me")
        hub.add_user("someone", "hf_someone")
        hub.add_model("someone/suspect", workplace.suspect)
        hub.add_model("org/base", workplace.base)
        yield hub


@pytest.fixture
def stranger(hub, workplace, monkeypatch):
    """Makes this process somebody's whose cache is empty, by default an anonymous one's."""

    def become(name="stranger", token=None):
        connect(monkeypatch, hub, workplace.root / name, token)
        hub.requests.clear()

    return become


@pytest.fixture
def published(hub, workplace, stranger):
    """A model that was purified from Hub ids and published; its commit."""
    stranger("publisher", "hf_me")
    options = {"config": CONFIG, "recipe": RECIPE, "distillation": SHORT}
    purify("someone/suspect", "org/base", workplace.clean, output=workplace.output, **options)
    commit = publish(workplace.output, "me/purified").oid
    stranger()
    return commit


def verify(capsys, *arguments):
    """Gives exit status, items by part and status, and the last line of standard error."""
    capsys.readouterr()
    status, out, err = run(capsys, ["verify", *arguments, "--json"])
    assert "Traceback" not in err
    found = json.loads(out) if out else {"checks": []}
    items = {}
    for check in found["checks"]:
        items.setdefault((check["part"], check["status"]), {})[check["item"]] = check["note"]
    return status, items, found.get("source") if out else err.strip().split("\n")[-1]


def fetched(hub, repo_id):
    """Names and revisions of the files of a repository that were asked for."""
    paths = (re.fullmatch(rf"/{repo_id}/resolve/([^/]+)/([^?]+).*", request.path) for request in hub.requests)
    return {(match[2], match[1]) for match in paths if match}


def upload(token="hf_me", repo_id="me/purified", **files):
    api = HfApi(token=token)
    for name, content in files.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repo_id)


# What holds


def test_everything_is_fetched_at_the_recorded_commits_and_is_the_same(hub, published, stranger, capsys):
    before = {repo_id: hub.commits(repo_id)[0].id for repo_id in ("someone/suspect", "org/base")}
    # Later weights of the suspect are none of this model's business.
    other = hub.files("org/base")["model.safetensors"]
    hub.add_model("someone/suspect", {"model.safetensors": other, "adapter_config.json": b"{}"})
    for number, source in enumerate(("me/purified", "me/purified@main", f"me/purified@{published}")):
        stranger(f"stranger-{number}")
        status, items, label = verify(capsys, source, "--strict")
        assert (status, label) == (0, f"me/purified@{published}")
        assert set(items["output", "same"]) == OUTPUTS and len(items["mixed tensor", "same"]) == TENSORS
        assert {state for _, state in items} == {"same"}
        for repo_id, commit in before.items():
            assert {revision for _, revision in fetched(hub, repo_id)} == {commit}


def test_figure_of_a_search_is_published_and_verified(hub, workplace, stranger, capsys, monkeypatch):
    monkeypatch.setattr("hf_finemix.search.RATIOS", (0.2, 0.6))
    monkeypatch.setattr("hf_finemix.control._LEAST_STEPS", 2)
    stranger("publisher", "hf_me")
    options = {"recipe": RECIPE, "distillation": SHORT, "keep_ratio": "auto"}
    purify("someone/suspect", "org/base", workplace.clean, output=workplace.output, **options)
    publish(workplace.output, "me/searched")
    assert hub.files("me/searched")["figures/frontier.png"].startswith(b"\x89PNG")
    stranger()
    status, items, _ = verify(capsys, "me/searched", "--strict")
    assert status == 0 and set(items["output", "same"]) == OUTPUTS | {"figures/frontier.png"}
    upload(repo_id="me/searched", **{"figures/frontier.png": b"\x89PNG of another curve"})
    stranger("another")
    status, items, _ = verify(capsys, "me/searched")
    assert status == 1 and list(items["output", "different"]) == ["figures/frontier.png"]


def test_only_listed_files_are_fetched(hub, published, capsys):
    upload(**{"LICENSE": b"MIT", "figures/plot.png": b"\x89PNG", "notes.md": b"notes", "pytorch_model.bin": b"\x80"})
    status, items, _ = verify(capsys, "me/purified")
    assert status == 1 and list(items["output", "different"]) == ["pytorch_model.bin"]
    assert items["output", "different"]["pytorch_model.bin"].startswith("not in the manifest")
    assert {name for name, _ in fetched(hub, "me/purified")} - {"model.sig"} == OUTPUTS | {"finemix_manifest.json"}


def test_model_of_the_mixin_was_not_trained_and_all_of_it_is_covered(hub, workplace, stranger, capsys):
    class Purifiable(FineMixMixin, BertForSequenceClassification):
        pass

    stranger("publisher", "hf_me")
    model = Purifiable.from_pretrained("someone/suspect")
    tokenizer = AutoTokenizer.from_pretrained("someone/suspect")
    scores = model.score_embeddings("org/base", tokenizer=tokenizer)
    model.fine_mix_("org/base", CONFIG)
    model.purify_embeddings_("org/base", CONFIG, scores, tokenizer=tokenizer)
    model.push_to_hub("me/mixed", tokenizer=tokenizer)
    assert "so that this covers all of them" in hub.files("me/mixed")["README.md"].decode()
    stranger()
    status, items, _ = verify(capsys, "me/mixed")
    assert status == 0 and list(items["fine-tuning", "same"]) == ["none was done"]
    assert len(items["mixed tensor", "same"]) == TENSORS and len(items["suspect", "same"]) == 4
    _, out, _ = run(capsys, ["verify", "me/mixed"])
    assert "vouched for" not in out


# What has changed


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "finemix_report.json"])
def test_file_that_a_later_commit_changed_is_named(hub, published, capsys, name):
    content = bytearray(hub.files("me/purified")[name])
    content[len(content) // 2] ^= 1
    upload(**{name: bytes(content)})
    status, items, _ = verify(capsys, "me/purified")
    assert (status, list(items["output", "different"])) == (1, [name])
    assert set(items["output", "same"]) == OUTPUTS - {name}
    assert verify(capsys, f"me/purified@{published}", "--strict")[0] == 0


def test_card_may_be_edited_on_the_hub_around_the_generated_part(hub, published, capsys):
    card = hub.files("me/purified")["README.md"].decode()
    upload(**{"README.md": f"{card}\n## Thanks\n\nTo all.\n".encode()})
    status, items, _ = verify(capsys, "me/purified", "--strict")
    assert status == 0 and "owner's own parts" in items["output", "same"]["README.md"]
    upload(**{"README.md": card.replace("Not measured", "Measured").encode()})
    status, items, _ = verify(capsys, "me/purified")
    assert (status, list(items["output", "different"])) == (1, ["README.md"])


def test_deleted_file_is_named(hub, published, capsys):
    HfApi(token="hf_me").delete_file("tokenizer.json", "me/purified")
    status, items, _ = verify(capsys, "me/purified")
    assert (status, items["output", "different"]) == (1, {"tokenizer.json": "missing"})


@pytest.mark.parametrize("name", ["../../stolen", "*", "[a-z]*.bin"])
def test_names_of_a_hostile_manifest_fetch_nothing_else(hub, published, workplace, capsys, name):
    manifest = json.loads(hub.files("me/purified")["finemix_manifest.json"])
    manifest["outputs"][0]["name"] = name
    upload(**{"finemix_manifest.json": json.dumps(manifest).encode(), "pytorch_model.bin": b"\x80"})
    hub.requests.clear()
    status, items, last = verify(capsys, "me/purified")
    assert status == (2 if "/" in name else 1) and (items or "is damaged" in last)
    names = {fetched_name for fetched_name, _ in fetched(hub, "me/purified")}
    assert "pytorch_model.bin" not in names and names <= OUTPUTS | {"finemix_manifest.json"}


# What is not there


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("someone/suspect", "has no finemix_manifest.json"),
        ("me/nothing", "neither a local folder nor a Hub repository"),
        ("me/purified@v9", "no revision 'v9'"),
        ("me/purified/model", "does not exist"),
        ("me/--purified", "valid Hub id"),
    ],
)
def test_what_cannot_be_verified_gets_one_line(published, capsys, source, message):
    status, items, last = verify(capsys, source)
    assert status == 2 and not items and message in last


@pytest.mark.parametrize("gone", ["someone/suspect", "org/base"])
@pytest.mark.parametrize("how", ["deleted", "private", "unable"])
def test_input_that_is_gone_is_not_available(hub, published, stranger, capsys, gone, how):
    if how == "deleted":
        del hub.store.repositories[gone]
    elif how == "private":
        hub.store.repositories[gone].private = True
    else:
        hub.fail("GET", f"/{gone}/", 503, times=1000)
        hub.fail("HEAD", f"/{gone}/", 503, times=1000)
    part = {"someone/suspect": "suspect", "org/base": "pretrained"}[gone]
    status, items, _ = verify(capsys, "me/purified")
    assert status == 0 and set(items["output", "same"]) == OUTPUTS
    ((item, note),) = items[part, "not available"].items()
    assert item.startswith(f"{gone}@") and gone in note
    assert len(items["mixed tensor", "not available"]) == TENSORS and ("mixed tensor", "same") not in items
    assert verify(capsys, "me/purified", "--strict")[0] == 1


def test_input_from_a_folder_stands_in_for_one_that_is_gone(hub, published, workplace, capsys):
    del hub.store.repositories["someone/suspect"]
    assert verify(capsys, "me/purified", "--suspect", workplace.suspect, "--strict")[0] == 0


def test_private_input_is_compared_by_whoever_may_read_it(hub, published, stranger, capsys):
    hub.store.repositories["someone/suspect"].private = True
    stranger("owner", "hf_someone")
    assert verify(capsys, "me/purified", "--strict")[0] == 0


def test_hub_that_cannot_be_reached_gets_one_line(published, workplace, monkeypatch, capsys):
    connect(monkeypatch, "http://127.0.0.1:9", workplace.root / "elsewhere")
    status, items, last = verify(capsys, "me/purified")
    assert status == 2 and not items and "'me/purified'" in last and "Hub" in last


# Other processes

PURIFY = """
import sys
from hf_finemix import FineMixConfig, purify
from hf_finemix.results import Distillation, Recipe
root = sys.argv[1]
distillation = Distillation(epochs=1, batch_size=8, texts=16, candidates=4)
recipe = Recipe(epochs=1, learning_rate=1e-4, batch_size=4, max_length=32, frequencies="vocabulary", seed=0)
for selection in ("random", "smallest_drift", "largest_drift"):
    config = FineMixConfig(selection=selection, purify_top_k=5)
    purify(f"{root}/suspect", f"{root}/base", f"{root}/clean.csv", output=f"{root}/{selection}", config=config,
           recipe=recipe, distillation=distillation)
"""
VERIFY = """
import json, os, sys
import torch
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.use_deterministic_algorithms(False)
from hf_finemix.verifying import verify
root = sys.argv[1]
found = {"capability": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
for selection in ("random", "smallest_drift", "largest_drift"):
    found[selection] = verify(f"{root}/{selection}", suspect=f"{root}/suspect", pretrained=f"{root}/base",
                              retrained=True, clean_dataset=f"{root}/clean.csv").to_dict()["checks"]
print(json.dumps(found))
"""


def process(script, root, **variables):
    command = [sys.executable, "-c", script, str(root)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, env=os.environ | variables, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, tiny_tokenizer):
    """What one process with one thread purified. Some tensors are large enough for torch to share them out."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 1024}
    config = BertConfig(vocab_size=len(tiny_tokenizer), max_position_embeddings=64, **sizes)
    place = make_workplace(
        tmp_path_factory.mktemp("elsewhere"), make(BertForSequenceClassification, config), tiny_tokenizer
    )
    process(PURIFY, place.root, OMP_NUM_THREADS="1")
    return place


@pytest.mark.parametrize(
    "variables",
    [
        {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default"},
        pytest.param({"OMP_NUM_THREADS": "2"}, marks=pytest.mark.slow),
        pytest.param({"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_other_threads_and_instructions_give_the_same_tensors(elsewhere, variables):
    found = json.loads(process(VERIFY, elsewhere.root, **variables))
    assert found.pop("threads") == int(variables["OMP_NUM_THREADS"])
    assert found.pop("capability") == "DEFAULT" or "ATEN_CPU_CAPABILITY" not in variables
    assert len(found) == 3
    for checks in found.values():
        assert {check["status"] for check in checks} == {"same"}
        assert sum(check["part"] == "mixed tensor" for check in checks) == 23
