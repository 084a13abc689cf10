"""
Run by test_shards.py in a process of its own: starts processes that share a model's parameters, and mixes these.

    python tests/launched_shards.py FOLDER PROCESSES
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path


os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from accelerate import PartialState, debug_launcher
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard
from transformers import PreTrainedModel

from hf_finemix import FineMixConfig, InputError, fine_mix_, purify_embeddings_, score_embeddings
from hf_finemix.recompute import all_tensors
from tests.models import bits_equal, family


def shard_rows(model: PreTrainedModel) -> None:
    """Shards a model as FSDP2 does by itself: each layer by its rows, then the rest."""
    for module in model.modules():
        if type(module).__name__ in ("BertLayer", "GPT2Block"):
            fully_shard(module)
    fully_shard(model)


def shard_columns(model: PreTrainedModel) -> None:
    """Shards each matrix by its columns."""
    fully_shard(model, shard_placement_fn=lambda parameter: Shard(int(parameter.dim() == 2)))


def load(folder: Path, name: str) -> PreTrainedModel:
    """Loads the suspect of a family."""
    task = family("gpt2" if name == "gpt2" else "bert").task
    return task.from_pretrained(folder / name / "suspect").eval()


def compare(folder: Path, name: str, shard: Callable[[PreTrainedModel], None], config: FineMixConfig) -> dict:
    """Mixes and purifies a model whole and sharded; tells in which ways the two agree."""
    base = folder / name / "base"
    one, cut = load(folder, name), load(folder, name)
    shard(cut)
    scores = [score_embeddings(model, base) for model in (one, cut)]
    mixed = [fine_mix_(model, base, config) for model in (one, cut)]
    reset = [purify_embeddings_(model, base, config, scores[0]) for model in (one, cut)]
    pairs = list(zip(one.parameters(), cut.parameters(), strict=True))
    return {
        "sharded": all(isinstance(there, DTensor) for _, there in pairs),
        "tensors": all(bits_equal(whole.detach(), there.full_tensor().detach()) for whole, there in pairs),
        "scores": bool((scores[0] == scores[1]).all()),
        "reports": mixed[0] == mixed[1] and reset[0] == reset[1],
        "hashes": all_tensors(one) == all_tensors(cut),
        "kept": mixed[1].kept_share,
    }


def damaged(folder: Path) -> str:
    """Puts NaN into what the last process holds; returns what this one says, if the model stayed as it was."""
    model = load(folder, "bert")
    shard_rows(model)
    name, parameter = next((n, p) for n, p in model.named_parameters() if n.endswith("1.output.dense.weight"))
    state = PartialState()
    if state.process_index == state.num_processes - 1:
        parameter.detach().to_local()[-1, -1] = torch.nan
    before = [p.detach().to_local().clone() for p in model.parameters()]
    try:
        fine_mix_(model, folder / "bert" / "base")
    except InputError as error:
        same = all(bits_equal(a, b.detach().to_local()) for a, b in zip(before, model.parameters(), strict=True))
        return str(error).replace(name, "NAME") if same else "the model was changed"
    return "nothing"


def work(folder: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    seen = {"processes": state.num_processes}
    for name in ("bert", "gpt2", "more", "fewer"):
        for shard in (shard_rows, shard_columns):
            for selection in ("random", "smallest_drift"):
                config = FineMixConfig(0.3, selection, 5, purify_top_k=7)
                found = compare(folder, name, shard, config)
                seen[f"{name} {shard.__name__} {selection}"] = found
    seen["damaged"] = damaged(folder)
    (folder / f"rank-{state.process_index}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    debug_launcher(work, (Path(sys.argv[1]),), num_processes=int(sys.argv[2]))
