"""Too little memory for the weights: one line, status 1, and nothing left."""

import pytest
import torch
from peft import LoraConfig
from transformers import BertConfig, BertForSequenceClassification

from ..adapters.kinds import make_adapter
from ..files import make_workplace
from .conftest import Desk, failed
from .inputs import Inputs


MEGABYTE = 1 << 20
# On top of what the imports took; each of the two models has 32 MB of weights.
LEVELS = (16, 40, 80)
# Reads part by part; 40 MB are enough for it, but not for its threads.
STREAMING = {"mix": (4, 16, 40)}


@pytest.fixture(scope="module")
def large(tmp_path_factory, tiny_tokenizer) -> Inputs:
    """Inputs with long vocabularies."""
    root = tmp_path_factory.mktemp("large")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=500_000, max_position_embeddings=64, **sizes)
    with torch.random.fork_rng():
        place = make_workplace(root, BertForSequenceClassification(config), tiny_tokenizer)
    make_adapter(place.base, root / "adapter", LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
    return Inputs(root, place)


@pytest.mark.parametrize("command", ["purify", "mix", "merge", "extract", "scan", "evaluate"])
def test_weights_that_do_not_fit(large, starter, tmp_path, command):
    desk = Desk(tmp_path, large, starter)
    said = set()
    for level in STREAMING.get(command, LEVELS):
        done = desk.run(command, memory=level * MEGABYTE, watched=())
        if done.status == 0 and level == max(LEVELS):
            break
        said.add(failed(done, command))
        assert not desk.files()
    assert any("memory" in line.lower() or "thread" in line for line in said)


def test_verify_takes_no_lack_of_memory_for_a_difference(large, starter, tmp_path):
    assert starter.run(large.arguments("mix", large.place.output), folder=tmp_path).status == 0
    desk = Desk(tmp_path / "desk", large, starter)
    for level in (40, 80, 120, 160):
        done = desk.run("verify", memory=level * MEGABYTE, watched=())
        assert "different  " not in done.out, done.out
        assert done.status == 0 or failed(done, "verify")
