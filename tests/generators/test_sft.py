"""The example with TRL's trainer."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_finemix import FineMixConfig, fine_mix_

from ..models import same, values
from .conftest import questions


trl = pytest.importorskip("trl")
EXAMPLE = Path(__file__).parents[2] / "examples" / "sft_trainer.py"


@pytest.fixture
def example(monkeypatch):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("sft_trainer", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sft_trainer", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def messages(chats):
    """The clean conversations as TRL reads them."""
    path = chats.root / "chats.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["response"]}]}
        for row in questions()
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_the_example_mixes_trains_and_saves(chats, messages, example, capsys):
    example.main(str(chats.suspect), str(chats.base), str(messages), str(chats.output))
    assert "mixed" in capsys.readouterr().out
    loaded = AutoModelForCausalLM.from_pretrained(chats.output)
    assert loaded.config.finemix["keep_ratio"] == 0.3
    mixed = AutoModelForCausalLM.from_pretrained(chats.suspect)
    fine_mix_(mixed, chats.base, FineMixConfig(0.3, seed=42))
    assert not same(values(mixed), values(loaded))
    card = (chats.output / "README.md").read_text()
    assert "hf-finemix" in card and "made_by" in (chats.output / "finemix_report.json").read_text()
    assert not (chats.output / "training_args.bin").exists()


def test_it_is_mixed_as_by_ours_and_trained_as_by_theirs(chats, messages, example, tmp_path):
    settings = {"max_steps": 3, "report_to": "none", "use_cpu": True, "bf16": False, "save_steps": 2}
    options = {
        "train_dataset": load_dataset("json", data_files=str(messages), split="train", cache_dir=str(tmp_path / "c")),
        "processing_class": AutoTokenizer.from_pretrained(chats.suspect),
    }
    args = example.FineMixSFTConfig(str(tmp_path / "ours"), keep_ratio=0.3, purify_top_k=0, mix_seed=7, **settings)
    ours = example.FineMixSFTTrainer(
        AutoModelForCausalLM.from_pretrained(chats.suspect), args, pretrained=chats.base, **options
    )
    mixed = AutoModelForCausalLM.from_pretrained(chats.suspect)
    fine_mix_(mixed, chats.base, FineMixConfig(0.3, seed=7, purify_top_k=0))
    assert same(values(ours.model), values(mixed))
    theirs = trl.SFTTrainer(mixed, trl.SFTConfig(str(tmp_path / "theirs"), **settings), **options)
    ours.train()
    theirs.train()
    assert same(values(ours.model), values(theirs.model))
    assert (tmp_path / "ours" / "checkpoint-2" / "model.safetensors").is_file()
